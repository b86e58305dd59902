"""What the two pages of the rows say beside their tables."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of docs.

    Attributes:
        name: File name without its ending.
        title: The heading.
        columns: Further scores of the tables, heading to key.
        intro: Text above the tables.
        outro: Text below them.
        published: Table of published figures, with a place for ours.
        by_hand: What stands below the last line until someone writes there.
    """

    name: str
    title: str
    columns: Mapping[str, str]
    intro: str
    outro: str
    published: str = ""
    by_hand: str = ""


_SPREAD = """\
± is the standard deviation over runs. A difference is that of runs with the same seed, fold and
steps; its ± is the root of both rows' summed variances. A difference that is not larger is *within
the spread*."""
_ROUGH = "only roughly: ours are folds of the 30 training images"

RESULTS = Page(
    "results",
    "Results on H&E",
    {
        "mPQ": "at_0.5/mPQ",
        "PQ": "at_0.5/PQ",
        "AJI": "at_0.5/AJI",
        "F1": "at_0.5/F1",
        "PQ at 0.3": "at_0.3/PQ",
        "AJI at 0.3": "at_0.3/AJI",
    },
    f"""\
CoNSeP has four classes, 27 training and 14 test images; MoNuSeg one class and 30 images. Both are
H&E at 40x. A row judged on the test images trains on all 27, and its last checkpoint is judged
once. Choices are compared on a fold of the training images (22 train, 5 judge) or, for MoNuSeg, on
every fold. The averaged weights of the last step are judged, never the best checkpoint.

*segm AP50* is COCO's, the mean over classes. *mPQ* is the mean over classes, of counts summed over
the images. *PQ*, *AJI* and *F1* (at IoU 0.5) are of all cells whatever their class, and means over
the images. All but AP are of cells of score 0.5 and more, or of 0.3. *Hours* are of training steps.
{_SPREAD}""",
    """\
Scores, machine, date, commit and curves of each run: [results.json](results.json). No image and no
weights of CoNSeP are published here.""",
    f"""\
## Published figures

PQ and AJI of all cells whatever their class.

| data | method | PQ | AJI | F1 at IoU 0.5 | source | comparable with ours |
|---|---|---|---|---|---|---|
| CoNSeP, test | HoVer-Net | 0.547 | 0.571 | | its paper | the same images |
| CoNSeP, test | Mask R-CNN | 0.460 | 0.474 | | HoVer-Net's paper | the same images |
| MoNuSeg, test | Mask R-CNN | | 0.528 | 0.665 | Sci. Rep. 2021, s41598-021-87496-1 | {_ROUGH} |
| MoNuSeg, test | the challenge's winner | | 0.691 | | MoNuSeg 2018 | {_ROUGH} |

Our first row on the same images of CoNSeP:

| PQ | PQ at 0.3 | AJI | AJI at 0.3 |
|---|---|---|---|
| {{ours}} |""",
    "\n## What the evidence says\n\nNothing yet: no row was run.\n",
)
ABLATION = Page(
    "ablation",
    "Ablation on real nuclei",
    {"segm AP": "coco/segm_mAP", "bbox AP50": "coco/bbox_mAP_50"},
    f"""\
65 training and 21 validation images, the stained ones of the 2018 Data Science
Bowl, from random weights: `mask-rcnn_r18_small-anchor_dsb2018.py` with
a shortened schedule. The final average of the weights is scored on val, never the best checkpoint.
Such a short training ranks choices; it does not show what they reach in the end.
{_SPREAD}""",
    "Scores and curves of each run: [ablation.json](ablation.json).",
)
PAGES = (RESULTS, ABLATION)
