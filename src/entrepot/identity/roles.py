"""What operators may do: three roles, each of which may what those before it may."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["viewer", "editor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""A viewer sees, an editor changes partners and what they get in with, an admin operators and keys too."""


def may(role: Role, least: Role) -> bool:
    """Tell whether *role* may do what *least* may."""
    return ROLES.index(role) >= ROLES.index(least)
