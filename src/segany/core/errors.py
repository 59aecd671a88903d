"""One tree of errors; catch `SeganyError` for all of them.

SeganyError
├── InputError (also ValueError)       what a person gave cannot be used; nothing was changed
│   ├── PromptError                    points, labels, boxes, mask hints
│   ├── ImageError                     photos and mask pictures
│   ├── OptionError                    knobs and flags
│   ├── CheckpointError                weights and model configs
│   ├── DataError                      data sets, records, annotation files
│   └── EmbeddingError                 saved image embeddings
├── MissingDependencyError (also ImportError)   an extra is not installed
├── NotAvailableError                  announced, but not there yet
├── TrainingError                      a training cannot go on
├── EngineError                        the data engine's rules forbid it; nothing was changed
│   ├── NotFoundError                  no such project, image, task, person, ...
│   ├── AccessError                    not with this name, password, token or role
│   ├── LeaseError                     the lease is another's, or another has taken the task since
│   ├── TransitionError                the task is not in a state for this
│   └── StoreUnavailableError          the database does not answer; the same call may be made again
└── Cancelled                          the caller asked to stop
"""

from __future__ import annotations


class SeganyError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(SeganyError, ValueError):
    """What a person gave cannot be used."""


class PromptError(InputError):
    """A prompt cannot be used."""


class ImageError(InputError):
    """A photo or mask picture cannot be used."""


class OptionError(InputError):
    """A knob or flag has an impossible value."""


class CheckpointError(InputError):
    """Weights or a model config cannot be used."""


class DataError(InputError):
    """A data set, record or annotation file cannot be used."""


class EmbeddingError(InputError):
    """A saved image embedding cannot be used."""


class MissingDependencyError(SeganyError, ImportError):
    """An optional library is not installed."""


class NotAvailableError(SeganyError):
    """Announced, but not there yet."""


class TrainingError(SeganyError):
    """A training cannot go on."""


class EngineError(SeganyError):
    """The data engine's rules forbid it; nothing was changed."""


class NotFoundError(EngineError):
    """No such project, image, task, person, model, round, ..."""


class AccessError(EngineError):
    """Not with this name, password, token or role."""


class LeaseError(EngineError):
    """The lease is another's, or another has taken the task since."""


class TransitionError(EngineError):
    """The task is not in a state for this."""


class StoreUnavailableError(EngineError):
    """The database does not answer; the same call may be made again."""


class Cancelled(SeganyError):
    """The caller asked to stop."""
