"""The texts that go with a release, filled from the store: a dataset card and an annotation card.

What the project has not said stands there as not stated: a card invents nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from segany.data.stats import COUNT_BINS, DatasetStats
from segany.engine.config import Stage
from segany.engine.quality import AuditReport
from segany.engine.statistics import ProjectNumbers
from segany.engine.values import ModelVersion, Project, Round

NOT_STATED = "Not stated by the project."
STAGE_NAMES: dict[str, str] = {"manual": "assisted-manual", "semi": "semi-automatic", "auto": "fully automatic"}


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """Everything the cards tell."""

    project: Project
    stages: Sequence[Stage]
    by_stage: Mapping[str, int]
    """Released images by the stage their masks come from."""
    stats: DatasetStats
    numbers: ProjectNumbers
    audits: Mapping[str, AuditReport]
    """By stage, where one was made."""
    models: Sequence[ModelVersion]
    rounds: Sequence[Round]
    detectors: Sequence[str]
    blurred: Mapping[str, int]
    """Blurred parts by kind."""
    drawn: int
    """Of these, how many a person drew."""
    kept_back: Mapping[str, int]
    """Images that were not released, by the reason."""
    cleared_by_simulated: int
    """Released images that a simulated reviewer cleared, not a person."""
    simulated: int
    """Released images whose masks simulated people made."""
    newest: datetime
    """When the newest released document was made."""
    source: str
    """Name of this software with its version."""


def dataset_card(facts: ReleaseFacts) -> str:
    """Motivation, composition, collection, preprocessing, uses, distribution, maintenance; Markdown."""
    settings, stats = facts.project.settings, facts.stats
    sections = [
        ("Motivation", settings.purpose or NOT_STATED),
        ("Composition", _composition(facts)),
        ("Collection process", f"{settings.collection or NOT_STATED}\n\n{_collection(facts)}"),
        ("Preprocessing and cleaning", _preprocessing(facts)),
        ("Uses", f"{settings.uses or NOT_STATED}\n\nNobody may try to find out who the people in the photos are."),
        (
            "Distribution",
            f"Licence: {settings.licence or NOT_STATED} Files: SA-1B's schema, with checksums beside them.",
        ),
        (
            "Maintenance",
            f"Contact: {settings.contact or NOT_STATED} Images are removed on request; what changes is released anew, "
            "and older releases are not kept up.",
        ),
    ]
    figures = "".join(
        f"![{name}]({name}.png)\n" for name in ("masks_per_image", "relative_size", "concavity", "centers")
    )
    head = f"# {facts.project.name}: dataset card\n\n{_marked(facts)}"
    head += f"{stats.images:,} images, {stats.masks:,} masks. State of {facts.newest:%Y-%m-%d}.\n"
    return head + _sections(sections) + "\n## Figures\n\n" + figures


def annotation_card(facts: ReleaseFacts) -> str:
    """Who made the masks, how, and how good they are, by the headings of CrowdWorkSheets; Markdown.

    Source: Díaz et al. 2022, CrowdWorkSheets.
    """
    settings = facts.project.settings
    sections = [
        ("Task formulation", _task(facts)),
        ("Selecting annotators", f"{settings.annotators or NOT_STATED}\n\n{_people(facts)}"),
        (
            "Platform and infrastructure",
            f"The masks were made with {facts.source}. Annotators worked in a browser with points, boxes, brush and "
            f"eraser on a model's suggestions; a lease keeps an image with one person for {settings.lease_seconds:g} "
            f"seconds without a sign of life. {_models(facts)}",
        ),
        ("Analysis and evaluation", _quality(facts)),
        (
            "Release and maintenance",
            "Every version of every annotation is kept in the project's store; released is the accepted one. "
            f"Contact: {settings.contact or NOT_STATED}",
        ),
    ]
    return f"# {facts.project.name}: annotation card\n\n{_marked(facts)}" + _sections(sections)


def _marked(facts: ReleaseFacts) -> str:
    if not facts.simulated:
        return ""
    return (
        f"**Simulated:** the masks of {facts.simulated:,} images were made by simulated annotators who play ground "
        "truth, not by people. Times and clicks of these are simulated too.\n\n"
    )


def _sections(sections: Sequence[tuple[str, str]]) -> str:
    return "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in sections)


def _composition(facts: ReleaseFacts) -> str:
    stats = facts.stats
    shares = "; ".join(f"{name} masks: {stats.count_shares()[name]:.1%} of the images" for name, _ in COUNT_BINS)
    stages = ", ".join(f"{STAGE_NAMES[stage]} {count:,}" for stage, count in facts.by_stage.items())
    labels = f"{len(stats.labels):,} different names" if stats.labels else "no names"
    return (
        f"{stats.images:,} images with {stats.masks:,} masks, {stats.mean_masks:.1f} per image. {shares}.\n\n"
        f"Images by the stage their masks come from: {stages}.\n\n"
        f"Relative size √(mask area / image area): median {stats.size_quantile(0.5):.3f}, quartiles "
        f"{stats.size_quantile(0.25):.3f} and {stats.size_quantile(0.75):.3f}. Concavity: mean "
        f"{stats.mean_concavity:.3f}, sizes weighing alike. Centres outside the middle half: "
        f"{stats.center_spread():.1%}. Masks carry {labels}."
    )


def _collection(facts: ReleaseFacts) -> str:
    done = {one.stage: one for one in facts.numbers.stages}
    rows = [
        f"| {STAGE_NAMES[stage]} | {_count(done[stage].done.images)} | {_count(done[stage].done.masks)} "
        f"| {_ratio(done[stage].done.seconds_per_mask)} | {_ratio(done[stage].done.clicks_per_mask)} "
        f"| {_ratio(done[stage].done.masks_per_image)} |\n"
        for stage in facts.stages
        if stage in done
    ]
    head = "| stage | images | masks | s per mask | clicks per mask | masks per image |\n" + "|---|" * 1 + "---|" * 5
    return (
        "What is accepted in the project, by stage; seconds and clicks are of masks that a person made or touched:\n\n"
        + head
        + "\n"
        + "".join(rows)
    )


def _preprocessing(facts: ReleaseFacts) -> str:
    blurred = ", ".join(f"{kind} {count:,}" for kind, count in sorted(facts.blurred.items())) or "none"
    played = ""
    if facts.cleared_by_simulated:
        played = f"; {facts.cleared_by_simulated:,} of them by simulated reviewers, who look at nothing"
    back = ", ".join(f"{reason} {count:,}" for reason, count in sorted(facts.kept_back.items())) or "none"
    return (
        f"Photos were turned upright, encoded anew as JPEG and stripped of their metadata. Parts that should not be "
        f"seen were blurred beyond recovery: {blurred}; {facts.drawn:,} of them drawn by people. Detectors: "
        f"{', '.join(facts.detectors) or 'none'}. They miss what is turned, small, dark or covered, so every released "
        f"photo was cleared by a reviewer as well{played}. Images kept back: {back}. Masks without a pixel were left "
        "out."
    )


def _task(facts: ReleaseFacts) -> str:
    settings = facts.project.settings
    guideline = settings.guideline or NOT_STATED
    return (
        f"Guideline: {guideline}\n\nAnnotators outline what is there; names are optional. They are advised to go on to "
        f"the next image once a single mask takes more than {settings.mask_seconds:g} seconds, and may skip an image "
        "with a reason."
    )


def _people(facts: ReleaseFacts) -> str:
    real = [one for one in facts.numbers.people if not one.simulated and one.work.images]
    played = [one for one in facts.numbers.people if one.simulated and one.work.images]
    hours = sum(one.work.active_seconds for one in real) / 3600
    told = f"{len(real):,} people handed in annotations, {hours:.1f} active hours in all."
    return told + (f" {len(played):,} simulated annotators did too." if played else "")


def _models(facts: ReleaseFacts) -> str:
    if not facts.models:
        return "No model was registered."
    named = ", ".join(f"{one.name} ({one.fingerprint[:12]})" for one in facts.models)
    published = sum(one.published for one in facts.rounds)
    return f"Models: {named}. Rounds of retraining: {len(facts.rounds)}, {published} of them published."


def _quality(facts: ReleaseFacts) -> str:
    agreed, lines = facts.numbers.agreement, []
    if agreed.mean_iou is not None:
        lines.append(
            f"{agreed.pairs:,} pairs of independent annotations of one image agree on {agreed.masks:,} masks with a "
            f"mean IoU of {agreed.mean_iou:.3f}."
        )
    gold = [one.gold for one in facts.numbers.people if one.gold is not None]
    if gold:
        lines.append(f"Mean IoU on known answers, mean over {len(gold)} annotators: {sum(gold) / len(gold):.3f}.")
    for stage, audit in facts.audits.items():
        lines.append(
            f"Audit of {audit.images:,} {STAGE_NAMES[stage]} images: every one of {audit.masks:,} masks was improved "
            f"by hand; {audit.share_above_90:.1%} have an IoU above 0.90 with themselves before, "
            f"{audit.share_above_75:.1%} above 0.75, mean {audit.mean_iou:.3f}; {audit.removed:,} masks were taken "
            "away."
        )
    sent_back = sum(one.rejected for one in facts.numbers.people)
    lines.append(f"Reviewers sent work back {sent_back:,} times.")
    return " ".join(lines)


def _count(number: int) -> str:
    return f"{number:,}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
