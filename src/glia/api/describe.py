"""A service in words and schemas, as every door shows it."""

from __future__ import annotations

from typing import Any

from glia.runtime.directory import Resolved


def summary(resolved: Resolved, state: str, failure: str | None = None) -> dict[str, Any]:
    """A service in one row."""
    card, task = resolved.card, resolved.task
    return {
        "name": resolved.name,
        "task": task.name,
        "title": task.title,
        "description": card.description or task.description,
        "ready": state == "ready",
        "state": state,
        "message": failure,
        "model": card.name if resolved.models else None,
        "version": card.version if resolved.models else None,
        "models": dict(resolved.models),
        "licence": card.licence.model_dump() if resolved.models else None,
        "research_only": card.licence.research_only,
    }


def describe(resolved: Resolved, state: str) -> dict[str, Any]:
    """A service whole: its row, card, contract and example."""
    contract = resolved.contract
    kind = contract.subject_media
    example = resolved.card.example
    return {
        **summary(resolved, state),
        "card": resolved.card.model_dump(mode="json"),
        "subject": {
            "field": contract.subject,
            "media": kind.kind if kind else None,
            "many": contract.is_many(contract.subject),
        },
        "input_schema": contract.input_schema,
        "output_schema": contract.output_schema,
        "example": example.model_dump(mode="json") if example else None,
    }
