"""Vector drawings as pixels."""

from __future__ import annotations

import io

from PIL import Image

from crvae.data.images import Form, Unusable


def render(svg: str, form: Form, background: str) -> Image.Image:
    """One render of an SVG document on a solid ground, large enough that every stored size is a reduction of it.

    Raises Unusable if it cannot be rendered.
    """
    import resvg_py

    side = max(256, 2 * max(form.sizes))
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=side, height=side, background=background, skip_system_fonts=True
        )
    except ValueError as error:
        raise Unusable(f"cannot be rendered ({error})") from None
    return Image.open(io.BytesIO(bytes(png))).convert("L" if form.channels == 1 else "RGB")
