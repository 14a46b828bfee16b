"""The latent explorer: one page on which one or two trained models draw, walk, complete and reconstruct.

Gradio makes the page; `serving` puts it on the loopback address, behind `guard`. One tab a module, one function of plain
values a button.
"""
