"""The models that a user may use, by the setting ``MODELS``."""

from gateway.auth.identities import Identity
from gateway.errors import Forbidden, Invalid
from gateway.http.requests import check_text
from parley.contracts.access.models import ModelCatalog


def check_model(model: str | None, identity: Identity, models: ModelCatalog) -> str | None:
    """Check the model of a request. None is always allowed: it is the user's default.

    Raises:
        Invalid: there is no such model in the setting.
        Forbidden: it is not for this user.
    """
    check_text(model, "model")
    if model is None or not models:
        return model
    entry = models.get(model)
    if entry is None:
        raise Invalid(f"There is no model {model!r}. GET /v1/models lists the models.", code="no_such_model")
    if not entry.is_for(identity.groups, identity.role):
        raise Forbidden(
            f"You may not use the model {model!r}. GET /v1/models lists those that you may use.",
            code="model_not_allowed",
        )
    return model
