"""Which artifact store the settings ask for."""

from runtime.artifacts.local import LocalArtifacts
from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import RequestInvalid
from runtime.settings import Settings


def open_artifacts(settings: Settings) -> ArtifactStore:
    """The store of `settings.artifacts_storage`, ready for use. Raises RequestInvalid when it is not set up, StoreUnavailable."""
    if settings.artifacts_storage == "s3":
        if not settings.s3_bucket:
            raise RequestInvalid("artifacts_storage is s3, but S3_BUCKET is not set")
        from runtime.artifacts.s3 import S3Artifacts  # costs 0.4 s: only for those who use it

        return S3Artifacts(settings.s3_bucket, endpoint=settings.s3_endpoint)
    return LocalArtifacts(settings.artifacts)
