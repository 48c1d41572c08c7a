"""The forecast printed before the first run: how long it takes, what can be detected, and what was made equal."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.compare.plan.detectable import assumed_noise, describe_power, measured_noise
from boxwright.compare.plan.plan import Plan
from boxwright.compare.plan.study import Setting
from boxwright.compare.run.jobs import Job
from boxwright.text import plural

FROZEN_NOTE = (
    "The frozen tier is an approximation: the backbone keeps its pretrained weights. Confirm what it finds in the full "
    "tier."
)


def outlook(setting: Setting, plan: Plan, jobs: Sequence[Job]) -> list[str]:
    """Describe what is about to run, in lines for the terminal."""
    weights = [f"  {arm}: {weight:g}" for arm, weight in plan.box_weights.items()]
    lines = [f"{arm} is left out: {why}" for arm, why in setting.left_out.items()]
    lines += [f"the baseline is {setting.arms[0].name}"] if setting.left_out else []
    lines += [_extent(setting, plan, jobs), what_can_be_seen(setting, jobs), plan.weights_by, *weights]
    return [*lines, FROZEN_NOTE] if setting.options.tier == "frozen" else lines


def _extent(setting: Setting, plan: Plan, jobs: Sequence[Job]) -> str:
    left = sum(not job.finished for job in jobs)
    arms, seeds = plural(len(setting.arms), "arm"), plural(setting.options.seeds, "seed")
    text = f"{arms} x {seeds} = {plural(len(jobs), 'run')} of {plural(plan.steps, 'step')}"
    if left < len(jobs):
        text += f", {len(jobs) - left} of them finished already"
    seconds, before = plan.steps * plan.seconds_per_step, 0.0
    if seconds != seconds:
        return f"{text}; how long they take can't be told here"
    text += f"; the baseline's takes about {_duration(seconds)}"
    if plan.seconds_per_head_step is not None:
        seconds, before = plan.steps * plan.seconds_per_head_step, plan.seconds_of_features
        text += f" in the full tier, and {_duration(seconds)} in this one, after {_duration(before)} for the features"
    return f"{text}; all that is left, one after the other: {_duration(seconds * left + before)} and the evaluations"


def what_can_be_seen(setting: Setting, jobs: Sequence[Job]) -> str:
    """Describe which difference the comparison can detect, using the noise of finished runs if there are enough."""
    noise = measured_noise(jobs, assumed_noise(setting.validation))
    said = describe_power(setting.options.seeds, setting.validation, len(setting.arms) - 1, noise)
    return f"{said} ({noise.source})"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
