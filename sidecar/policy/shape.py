"""What every mapping of a policy has in common.

What may live here: the base of `model.py`'s and `degrade.py`'s classes.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Unknown keys are refused, nothing is coerced, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)
