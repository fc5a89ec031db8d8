"""What a new object of each kind looks like in OpenAI's API, made from the request that creates it. Pure.

https://platform.openai.com/docs/api-reference (files, uploads, vector stores, conversations, containers, batches ...)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.simulator.fields import Document, read_text

_DAY_SECONDS: Final = 86_400
_NO_FILES: Final = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: `shape` makes its own members of the request's and the moment in Unix seconds."""

    id_prefix: str
    name: str
    """Its `object`."""
    deleted: str
    """The `object` of the answer when one is deleted."""
    shape: Callable[[Document, int], Document]


def _file(request: Document, _: int) -> Document:
    purpose = read_text(request, "purpose")
    members = {name: request.get(name) for name in ("bytes", "filename")}
    return {**members, "purpose": purpose, "status": "processed", "expires_at": None}


def _upload(request: Document, now: int) -> Document:
    members = {name: request.get(name) for name in ("bytes", "filename", "purpose")}
    return {**members, "status": "pending", "expires_at": now + _DAY_SECONDS // 24, "file": None}


def _vector_store(request: Document, now: int) -> Document:
    return {
        "name": request.get("name") or "",
        "usage_bytes": 0,
        "file_counts": _NO_FILES,
        "status": "completed",
        "expires_after": request.get("expires_after"),
        "last_active_at": now,
        "metadata": request.get("metadata") or {},
    }


def _vector_store_file(request: Document, _: int) -> Document:
    return {
        "id": read_text(request, "file_id"),
        "usage_bytes": 0,
        "status": "completed",
        "last_error": None,
        "attributes": request.get("attributes") or {},
        "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}},
    }


def _file_batch(request: Document, _: int) -> Document:
    count = len(request.get("file_ids") or request.get("files") or ())
    return {"status": "completed", "file_counts": {**_NO_FILES, "completed": count, "total": count}}


def _conversation(request: Document, _: int) -> Document:
    return {"metadata": request.get("metadata") or {}}


def _item(request: Document, _: int) -> Document:
    item = {"type": "message", "status": "completed", **request}
    if isinstance(item.get("content"), str):
        item["content"] = [{"type": "input_text", "text": item["content"]}]
    return item


def _container(request: Document, now: int) -> Document:
    return {
        "status": "running",
        "name": read_text(request, "name"),
        "expires_after": request.get("expires_after") or {"anchor": "last_active_at", "minutes": 20},
        "last_active_at": now,
        "memory_limit": "1g",
    }


def _container_file(request: Document, _: int) -> Document:
    name = request.get("filename") or read_text(request, "file_id")
    return {"bytes": request.get("bytes", 0), "path": f"/mnt/data/{name}", "source": "user"}


def _batch(request: Document, now: int) -> Document:
    moments = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    return {
        "endpoint": read_text(request, "endpoint"),
        "input_file_id": read_text(request, "input_file_id"),
        "completion_window": read_text(request, "completion_window"),
        "errors": None,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "expires_at": now + _DAY_SECONDS,
        **{f"{moment}_at": None for moment in moments},
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": request.get("metadata"),
    }


def _fine_tuning_job(request: Document, _: int) -> Document:
    return {
        "model": read_text(request, "model"),
        "training_file": read_text(request, "training_file"),
        "validation_file": request.get("validation_file"),
        "organization_id": "org-simulator",
        "status": "queued",
        "seed": request.get("seed") or 1,
        "hyperparameters": {"n_epochs": "auto"},
        "fine_tuned_model": None,
        "finished_at": None,
        "estimated_finish": None,
        "trained_tokens": None,
        "error": None,
        "result_files": [],
        "integrations": [],
        "metadata": request.get("metadata"),
    }


def _anything(request: Document, _: int) -> Document:
    return {"status": "completed", **request}


KINDS: Final[dict[tuple[str, ...], Kind]] = {
    ("files",): Kind("file-", "file", "file", _file),
    ("uploads",): Kind("upload_", "upload", "upload.deleted", _upload),
    ("uploads", "*", "parts"): Kind("part_", "upload.part", "upload.part.deleted", lambda _, __: {}),
    ("vector_stores",): Kind("vs_", "vector_store", "vector_store.deleted", _vector_store),
    ("vector_stores", "*", "files"): Kind("", "vector_store.file", "vector_store.file.deleted", _vector_store_file),
    ("vector_stores", "*", "file_batches"): Kind("vsfb_", "vector_store.files_batch", "", _file_batch),
    ("conversations",): Kind("conv_", "conversation", "conversation.deleted", _conversation),
    ("conversations", "*", "items"): Kind("msg_", "", "", _item),
    ("containers",): Kind("cntr_", "container", "container.deleted", _container),
    ("containers", "*", "files"): Kind("cfile_", "container.file", "container.file.deleted", _container_file),
    ("batches",): Kind("batch_", "batch", "", _batch),
    ("fine_tuning", "jobs"): Kind("ftjob-", "fine_tuning.job", "", _fine_tuning_job),
    ("evals",): Kind("eval_", "eval", "eval.deleted", _anything),
    ("skills",): Kind("skill_", "skill", "skill.deleted", _anything),
    ("videos",): Kind("video_", "video", "video.deleted", _anything),
    ("threads",): Kind("thread_", "thread", "thread.deleted", _anything),
}
"""By the path of the collection; a star is the id of a parent."""
PARENTS: Final = {"uploads": "upload_id", "vector_stores": "vector_store_id", "containers": "container_id"}
"""What a part of an object calls the one that it belongs to."""
