"""Every error a user, a file or a network can cause; one tree, each with an HTTP status and a stable code.

GliaError                        500  internal
├── InputError                   422  invalid-input        a request that breaks its contract
│   ├── BodyTooLarge             413  body-too-large       more bytes than the limit
│   ├── UnsupportedMedia         415  unsupported-media    not one of the formats that are read
│   ├── MediaTooLarge            413  media-too-large      its header promises more than the limit
│   └── DamagedMedia             422  damaged-media        truncated, corrupt, or lying
├── NotFound                     404  not-found            no such service, model, version, route
├── MethodNotAllowed             405  method-not-allowed   a route that answers other methods
├── NotAllowed                   401  not-allowed          no API key, or a wrong one
├── ForeignOrigin                403  foreign-origin       a change that another web site asks for
├── BodyTooSlow                  408  body-too-slow        a body that did not arrive in time
├── Conflict                     409  conflict             a name met twice, a version that is in use
├── Unavailable                  503  unavailable          try again, or do what the message says
│   ├── NoModel                  503  no-model             nothing in the store answers the service
│   ├── Overloaded               503  overloaded           the queue is full
│   ├── ReplicaDied              503  replica-died         the process that ran the network ended
│   └── Draining                 503  draining             the server is stopping
├── DeadlineExceeded             504  deadline-exceeded    no answer within the request's deadline
├── SourceError                  502  source-failed        no source had the verified bytes
├── ImportFailed                 422  import-failed        a foreign file that cannot be read or expressed
├── StoreError                   500  store-failed         a stored model is damaged or cannot be written
├── SettingError                 500  bad-setting          a setting that cannot be used
└── MissingExtra                 501  missing-extra        needs an optional part of the installation
"""

from __future__ import annotations

from typing import Any, ClassVar


class GliaError(Exception):
    """An error with a cause outside the code: the message says what was expected, what came, and what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after_s: int | None = None

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def problem(self) -> dict[str, Any]:
        """The body of an RFC 9457 answer, plus the `error` field that Hugging Face's and KServe's clients show."""
        return {
            "type": f"urn:glia:error:{self.code}",
            "title": self.code.replace("-", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.message,
            "error": self.message,
            **self.details,
        }


class InputError(GliaError):
    """A request that breaks its contract."""

    status = 422
    code = "invalid-input"


class BodyTooLarge(InputError):
    """More bytes than the limit."""

    status = 413
    code = "body-too-large"


class UnsupportedMedia(InputError):
    """Not one of the formats that are read; decided by the bytes, never by the name."""

    status = 415
    code = "unsupported-media"


class MediaTooLarge(InputError):
    """A header that promises more pixels or seconds than the limit."""

    status = 413
    code = "media-too-large"


class DamagedMedia(InputError):
    """Truncated, corrupt, or lying about itself."""

    status = 422
    code = "damaged-media"


class NotFound(GliaError):
    """No such service, model, version or route."""

    status = 404
    code = "not-found"


class MethodNotAllowed(GliaError):
    """A route that answers other methods."""

    status = 405
    code = "method-not-allowed"


class NotAllowed(GliaError):
    """No API key, or a wrong one."""

    status = 401
    code = "not-allowed"


class ForeignOrigin(GliaError):
    """A change that another web site asks for, in the browser of somebody who may."""

    status = 403
    code = "foreign-origin"


class BodyTooSlow(GliaError):
    """A body that did not arrive in time."""

    status = 408
    code = "body-too-slow"


class Conflict(GliaError):
    """A name met twice, or a version that is in use."""

    status = 409
    code = "conflict"


class Unavailable(GliaError):
    """Try again, or do what the message says."""

    status = 503
    code = "unavailable"
    retry_after_s: int | None = 1


class NoModel(Unavailable):
    """Nothing in the store answers the service."""

    code = "no-model"
    retry_after_s = None


class Overloaded(Unavailable):
    """The queue is full."""

    code = "overloaded"


class ReplicaDied(Unavailable):
    """The process that ran the network ended while it held the request."""

    code = "replica-died"


class Draining(Unavailable):
    """The server is stopping."""

    code = "draining"


class DeadlineExceeded(GliaError):
    """No answer within the request's deadline."""

    status = 504
    code = "deadline-exceeded"


class SourceError(GliaError):
    """No source had the verified bytes."""

    status = 502
    code = "source-failed"


class ImportFailed(GliaError):
    """A foreign file that cannot be read, or an operator that cannot be expressed."""

    status = 422
    code = "import-failed"


class StoreError(GliaError):
    """A stored model is damaged or cannot be written."""

    code = "store-failed"


class SettingError(GliaError):
    """A setting that cannot be used."""

    code = "bad-setting"


class MissingExtra(GliaError):
    """Needs an optional part of the installation; the message names it."""

    status = 501
    code = "missing-extra"


def _tree(root: type[GliaError]) -> dict[str, type[GliaError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def from_problem(problem: dict[str, Any]) -> GliaError:
    """The exception that a problem body describes; an unknown code gives a plain GliaError."""
    known = {"type", "title", "status", "code", "detail", "error"}
    kind = _tree(GliaError).get(str(problem.get("code")), GliaError)
    error = kind(str(problem.get("detail") or problem.get("error") or problem.get("message") or "no message"))
    error.details = {key: value for key, value in problem.items() if key not in known}
    return error
