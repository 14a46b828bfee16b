"""A blinded human preference study (Tables 1 and 2, section 4.4): made as a folder, served as a web page, reported.

`sources` gathers each model's images, `questions` blinds and shuffles them, `folder` is the format on disk, `database`
keeps raters and votes, `protection` and `server` are the web page, `results` and `report` what comes of the votes.
"""
