"""Resumable uploads: a row a session, a blob a chunk, so that a restart loses no acknowledged byte.

Protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads.

A session goes: started, chunks appended, claimed (the last byte is there and one request makes the
object), completed (kept for a while, so that a client that lost the reply can ask again).
"""

import base64
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from msgspec.structs import replace

from tensordeck.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from tensordeck.services.storage_attributes import NO_CHECKSUMS, Attributes, Checksums
from tensordeck.services.storage_conditions import Conditions
from tensordeck.services.storage_content import Content, HashedChunks, discard, store_content
from tensordeck.services.storage_names import object_name, row_name
from tensordeck.services.storage_objects import Objects
from tensordeck.store import Store
from tensordeck.store.blobs import new_key
from tensordeck.store.resources import StoredObject, UploadSession
from tensordeck.store.walk import walk

__all__ = ["EXPIRY_SECONDS", "UploadOutOfStep", "Uploads", "is_complete"]

EXPIRY_SECONDS: Final = 7 * 24 * 3600
"""How long a session lives after its last chunk, as in the managed service."""


class UploadOutOfStep(Unavailable):
    """A chunk does not follow the last byte that is safe; the client asks where to go on."""


class Uploads:
    """The resumable uploads of a store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog
        self._objects = Objects(store)

    def start(
        self,
        bucket: str,
        name: str,
        attributes: Attributes,
        conditions: Conditions,
        checksums: Checksums,
        total: int | None = None,
    ) -> UploadSession:
        """Begins an upload.

        Args:
            bucket: The bucket.
            name: The object that it will become.
            attributes: Its metadata.
            conditions: What must hold, now and at the end.
            checksums: What all its bytes must hash to.
            total: How many bytes there will be, if the client said so.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the name is invalid.
            ConditionNotMet: If a precondition does not hold.
        """
        self._objects.check_target(bucket, name, conditions)
        request = {
            "attributes": attributes.to_json(),
            "checksums": checksums.to_json(),
            "conditions": conditions.to_json(),
            "total": total,
        }
        return self._catalog.create(
            UploadSession(
                name=secrets.token_urlsafe(32), object_name=row_name(bucket, name), request=request
            )
        )

    def get(self, upload: str) -> UploadSession:
        """Returns an upload.

        Raises:
            NotFound: If there is none of that id, or it was cancelled or expired.
        """
        session = self._catalog.find(UploadSession, upload)
        if session is None:
            raise NotFound("There is no such upload: it was cancelled or expired. Start again.")
        return session

    def append(self, upload: str, start: int, chunks: Iterable[bytes]) -> UploadSession:
        """Adds bytes; returns when they are durable. What is there already is skipped.

        Args:
            upload: The session's id.
            start: The place of the first byte in the object.
            chunks: The bytes. They may end early (a lost connection): what came counts.

        Raises:
            NotFound: If there is no such upload.
            UploadOutOfStep: If bytes between the last safe one and `start` are missing, or
                another request appended at the same time.
        """
        session = self.get(upload)
        if is_complete(session) or _is_claimed(session):
            return session
        if start > session.received:
            raise UploadOutOfStep(
                f"The chunk starts at byte {start}, but only {session.received} bytes came so far. "
                "Ask for the upload's status and go on from there."
            )
        state = session.request
        source = HashedChunks(
            _from_place(chunks, session.received - start), crc32c=state.get("crc32c", 0)
        )
        key = new_key()
        self._store.blobs.write(key, source)
        if not source.size:
            discard(self._store, [key])
            return session

        def grow(old: UploadSession) -> UploadSession:
            if old.received != session.received or _is_claimed(old):
                raise UploadOutOfStep("Another request added to the upload; ask for its status.")
            return replace(
                old,
                received=old.received + source.size,
                parts=(*old.parts, key),
                request={
                    **old.request,
                    "crc32c": source.crc32c,
                    # Only of use while there is one part: that becomes the object as it is.
                    "md5": base64.b64encode(source.md5).decode(),
                },
            )

        try:
            return self._update(upload, grow)
        except BaseException:
            discard(self._store, [key])
            raise

    def finish(self, upload: str, total: int, checksums: Checksums = NO_CHECKSUMS) -> StoredObject:
        """Makes the object once all bytes are there. Asked again, it answers the same.

        Args:
            upload: The session's id.
            total: How many bytes there must be.
            checksums: What they must hash to, besides what was said at the start.

        Raises:
            NotFound: If there is no such upload.
            InvalidArgument: If the number of bytes or a checksum differs; the upload is over.
            DataLoss: If the blob store altered what came in earlier requests.
            ConditionNotMet: If a precondition does not hold; the upload is over.
        """
        session = self.get(upload)
        if (placed := self._placed(session)) is not None:
            return placed
        said = session.request.get("total")
        if session.received != total or said not in (None, total):
            raise InvalidArgument(
                f"The upload has {session.received} bytes, but {total} were declared"
                + ("." if said is None else f", and {said} when it began.")
            )
        session, alone = self._claim(session)
        try:
            row = self._place(session, checksums, alone=alone)
        except (DataLoss, FailedPrecondition, InvalidArgument, NotFound):
            # A second request may have finished the same upload in between.
            if (placed := self._placed(session)) is not None:
                return placed
            self._drop(session, keep_parts=not alone)
            raise
        self._complete(session, row)
        if alone:
            discard(self._store, [key for key in session.parts if key != row.blob_key])
        return row

    def cancel(self, upload: str) -> None:
        """Ends an upload and deletes its bytes.

        Raises:
            NotFound: If there is no such upload.
        """
        session = self.get(upload)
        self._drop(session, keep_parts=_is_claimed(session))

    def expire(self, older_than_s: float = EXPIRY_SECONDS) -> int:
        """Removes sessions that nobody used for so many seconds; returns how many."""
        limit = time.time_ns() // 1000 - int(older_than_s * 1_000_000)
        sessions = walk(self._catalog, UploadSession, "")
        old = [session for session in sessions if session.update_time <= limit]
        for session in old:
            self._drop(session, keep_parts=_is_claimed(session))
        return len(old)

    def _claim(self, session: UploadSession) -> tuple[UploadSession, bool]:
        """Reserves the parts: only the first to finish may make one of them the object's blob.

        One that comes later, perhaps after a kill, can't know whether the first got that far and
        whether the object was overwritten since, its blob deleted; it works on a copy.
        """
        alone = False

        def claim(old: UploadSession) -> UploadSession:
            nonlocal alone
            alone = not _is_claimed(old)
            if old.received != session.received:
                raise UploadOutOfStep("Another request added to the upload; ask for its status.")
            return replace(old, request={**old.request, "claimed": True})

        return self._update(session.name, claim), alone

    def _place(self, session: UploadSession, late: Checksums, *, alone: bool) -> StoredObject:
        early = Checksums.parse(
            session.request["checksums"].get("md5Hash"), session.request["checksums"].get("crc32c")
        )
        checksums = Checksums(late.md5 or early.md5, _first(late.crc32c, early.crc32c))
        crc32c = session.request.get("crc32c", 0)
        checksums.check(b"", crc32c)
        if alone and len(session.parts) == 1:
            md5 = base64.b64decode(session.request["md5"])
            content = Content(session.parts[0], session.received, md5, crc32c)
            checksums.check(content.md5, crc32c)
        else:
            parts = (self._store.blobs.read(key) for key in session.parts)
            content = store_content(self._store, chain.from_iterable(parts), checksums)
            if content.crc32c != crc32c:
                discard(self._store, [content.blob_key])
                raise DataLoss(
                    f"The bytes of the upload to gs://{session.object_name} have changed in the "
                    "blob store. Start it again."
                )
        try:
            return self._objects.place(
                session.object_name.partition("/")[0],
                object_name(session.object_name),
                content,
                Attributes.parse(session.request["attributes"]),
                Conditions.parse(session.request["conditions"]),
                session.name,
            )
        except BaseException:
            if content.blob_key not in session.parts:
                discard(self._store, [content.blob_key])
            raise

    def _placed(self, session: UploadSession) -> StoredObject | None:
        """The object that an upload became, if it did; as it was then when replaced since."""
        row = self._catalog.find(StoredObject, session.object_name)
        if row is not None and row.extra.get("upload") == session.name:
            if not is_complete(session):  # a kill came between the two steps
                self._complete(session, row)
            return row
        done = session.request.get("completed")
        if done is None:
            return None
        attributes = Attributes.parse(session.request["attributes"])
        return StoredObject(
            name=session.object_name,
            generation=done["generation"],
            size=session.received,
            md5=base64.b64decode(done["md5"]),
            crc32c=done["crc32c"],
            content_type=done["contentType"],
            metadata=dict(attributes.metadata),
            extra=dict(attributes.extra),
            update_time=done["generation"],
        )

    def _complete(self, session: UploadSession, row: StoredObject) -> None:
        """Notes what became of an upload; its bytes are the object's now."""
        done = {
            "generation": row.generation,
            "md5": base64.b64encode(row.md5).decode(),
            "crc32c": row.crc32c,
            "contentType": row.content_type,
        }
        with contextlib.suppress(NotFound):  # cancelled meanwhile
            self._update(
                session.name,
                lambda old: replace(
                    old, parts=(), request={**old.request, "claimed": True, "completed": done}
                ),
            )

    def _drop(self, session: UploadSession, *, keep_parts: bool) -> None:
        """Forgets a session. Parts that may have become an object's are left to the sweep."""
        with contextlib.suppress(NotFound):
            self._catalog.delete(UploadSession, session.name)
        if not keep_parts:
            discard(self._store, session.parts)

    def _update(
        self, upload: str, change: Callable[[UploadSession], UploadSession]
    ) -> UploadSession:
        return self._catalog.update(UploadSession, upload, change)


def is_complete(session: UploadSession) -> bool:
    """Whether an upload became its object."""
    return "completed" in session.request


def _is_claimed(session: UploadSession) -> bool:
    return bool(session.request.get("claimed"))


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _from_place(chunks: Iterable[bytes], skipped: int) -> Iterator[bytes]:
    """Leaves out the first bytes."""
    for chunk in chunks:
        if skipped >= len(chunk):
            skipped -= len(chunk)
            continue
        yield chunk[skipped:] if skipped else chunk
        skipped = 0
