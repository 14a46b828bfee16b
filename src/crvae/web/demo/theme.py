"""Colours and type of the page: the system's fonts, and text that stands out from its ground, light or dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLES = [Path(__file__).with_name(name) for name in ("page.css", "sheets.css")]


def theme() -> gr.themes.Base:
    """Gradio's own theme in blue, a shade darker: white on its orange buttons is too faint to read."""
    return gr.themes.Default(
        primary_hue="blue",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_secondary_border_color="*neutral_400",
        button_secondary_border_color_dark="*neutral_500",
        button_border_width="1px",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )
