"""Complete: hide a part of an image, and watch the restarts of the search arrive (section 4.4)."""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from jaxtyping import Float
from torch import Tensor

from crvae.errors import UserError
from crvae.tasks.completion import complete
from crvae.tasks.occlusion import NAMED, Rectangle, blend, occlude
from crvae.tasks.search import Search, Start
from crvae.web.demo.address import Shared, one_of, whole
from crvae.web.demo.exhibits import Exhibit
from crvae.web.demo.following import Step, Tell, follow
from crvae.web.demo.holes import PAINTED, canvas, editor, hidden
from crvae.web.demo.sheets import sheet
from crvae.web.demo.widgets import LARGEST_SEED, QUICK, Picker, frame, in_words, picture, seed_field, status_line

MOST_RESTARTS, MOST_STEPS = 8, 400
QUEUED = "Waiting: one search runs at a time."
"""Seen from the click until the search begins: at once, unless another visitor searches."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
STEADY: dict[str, Any] = {**QUICK, **QUIET}
Found = list[tuple[float, Tensor, Tensor]]
"""Restarts of one model, best first: loss, completed image, and the latent's own image."""


class Completing:
    """What happens on the tab: `regions` are the named parts that can be hidden."""

    def __init__(self, exhibits: list[Exhibit], regions: Mapping[str, Rectangle]) -> None:
        self.exhibits, self.regions = exhibits, regions

    def look(self, x: Tensor, painting: dict[str, Any] | None, region: str) -> list:
        """What is left of the image, and whether a search can begin: it needs a hole."""
        try:
            mask = hidden(painting, region, x.shape[-1], self.regions)
        except UserError as error:
            return [picture(x), _sentence(error)]
        return [picture(occlude(x[None], mask[None, None])[0]), "Ready."]

    def search(
        self, x: Tensor, painting: dict[str, Any] | None, region: str, restarts: float, steps: float, seed: float | None
    ) -> Iterator[list]:
        found: list[Found] = [[] for _ in self.exhibits]
        same = [gr.skip() for _ in self.exhibits for _ in range(2)]  # old pictures stay until there are new ones
        try:
            mask = hidden(painting, region, x.shape[-1], self.regions)
        except UserError as error:
            yield [_sentence(error), *same]
            return
        count = int(restarts)
        yield ["Searching.", *same]
        for restart in range(count):
            for exhibit, completions in zip(self.exhibits, found, strict=True):
                start = "prior" if restart else "posterior"

                def work(
                    tell: Tell, exhibit: Exhibit = exhibit, seed: int = int(seed or 0) + restart, start: Start = start
                ) -> tuple:
                    return attempt(exhibit, x, mask, seed, int(steps), tell, start)

                for heard in follow(work):
                    if isinstance(heard, Step):
                        doing = f"{exhibit.title}: restart {restart + 1} of {count}, step {heard.done} of {heard.most}"
                        yield [_status(self.exhibits, found, doing), *same]
                    else:
                        completions.append(heard.value)
                completions.sort(key=lambda completion: completion[0])
                yield [_status(self.exhibits, found), *_shown(self.exhibits, found)]


def completing_tab(
    exhibits: list[Exhibit], examples: Float[Tensor, "n c h w"], boxes: Mapping[str, Rectangle]
) -> Shared:
    """The hole is what the brush covered, and a named part: that one needs no mouse. `boxes`: where the images' own parts lie."""
    regions = {**NAMED, **boxes}
    completing = Completing(exhibits, regions)
    with gr.Tab("Complete", id="complete") as tab:
        gr.Markdown("Hide a part of an image: the model fills it with something that fits the rest.")
        picker = Picker(examples)
        with gr.Row():
            with gr.Column(min_width=300):
                painting = editor(examples[0])
                region = gr.Radio([PAINTED, *regions], value=PAINTED, label="Hide")
            with gr.Column(min_width=260):
                seen = frame("What the model sees", picture(examples[0]))
                with gr.Row():
                    restarts = gr.Slider(1, MOST_RESTARTS, 4, step=1, label="Restarts", min_width=240)
                    steps = gr.Slider(10, MOST_STEPS, 200, step=10, label="Most steps", min_width=240)
                    seed = seed_field()
                with gr.Row(elem_classes="buttons"):
                    begin = gr.Button("Complete", variant="primary", min_width=140, scale=0)
                    stop = gr.Button("Stop", min_width=90, scale=0)
                status = status_line(completing.look(examples[0], None, PAINTED)[-1])
            with gr.Column(min_width=260):
                outputs = []
                for exhibit in exhibits:
                    outputs.append(frame(_title(exhibit)))
                    outputs.append(gr.HTML())
        components = [picker.which, region, restarts, steps, seed]
        shared = Shared(tab, "complete", ("image", "hide", "restarts", "steps", "seed"), components)
    chosen = picker.chosen
    gr.on(
        [painting.change, painting.input, region.change],
        in_words(completing.look),
        [chosen, painting, region],
        [seen, status],
        trigger_mode="always_last",
        **STEADY,
    )
    begin.click(None, None, status, js=f"() => '{QUEUED}'", queue=False, **QUIET)
    running = begin.click(
        in_words(completing.search),
        [chosen, painting, region, restarts, steps, seed],
        [status, *outputs],
        concurrency_id="search",
        concurrency_limit=1,
        **QUIET,
    )
    stop.click(None, None, None, cancels=[running], **STEADY).then(lambda: "Stopped.", None, status, **STEADY)
    shared.parsers = (
        whole(1, len(examples)),
        one_of([PAINTED, *regions]),
        whole(1, MOST_RESTARTS),
        whole(10, MOST_STEPS),
        whole(0, LARGEST_SEED - 1),
    )
    picker.connect(lambda x: [canvas(x)], [painting], shared)
    return shared


def attempt(
    exhibit: Exhibit,
    x: Float[Tensor, "c h w"],
    mask: Float[Tensor, "h w"],
    seed: int,
    steps: int,
    tell: Tell | None = None,
    start: Start = "posterior",
) -> tuple[float, Tensor, Tensor]:
    """One restart: its loss, its image with the visible pixels as they were, and the latent's own image."""
    tau = Search.tau if exhibit.discriminator else 0.0
    settings = Search(tau=tau, restarts=1, steps=steps, seed=seed, start=start)
    found = complete(exhibit.stage1, x[None], mask, exhibit.discriminator, settings, progress=tell)
    return found.losses["total"].item(), blend(found.best, x[None], mask[None, None])[0], found.best[0]


def _title(exhibit: Exhibit) -> str:
    return f"Best completion of {exhibit.title}" + ("" if exhibit.discriminator else " (without a discriminator)")


def _shown(exhibits: list[Exhibit], found: list[Found]) -> list:
    shown = []
    for exhibit, completions in zip(exhibits, found, strict=True):
        if not completions:
            shown += [gr.skip(), gr.skip()]
            continue
        best = completions[0][1]
        if exhibit.upsampler is not None:
            best = exhibit.upsampler.upscale(best[None].to(exhibit.model.device))[0]
        captions = [f"loss {loss:.1f}" for loss, _, _ in completions]
        images = [picture(decoded) for _, _, decoded in completions]
        shown += [picture(best), sheet(f"Restarts of {exhibit.title}, best first", images, captions)]
    return shown


def _status(exhibits: list[Exhibit], found: list[Found], doing: str = "") -> str:
    parts = [
        f"**{exhibit.title}**: {len(completions)} done, lowest loss {completions[0][0]:.1f}"
        for exhibit, completions in zip(exhibits, found, strict=True)
        if completions
    ]
    return "  \n".join(filter(None, [*parts, doing]))


def _sentence(error: UserError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
