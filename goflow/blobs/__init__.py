"""Blobs: payloads too large for the store, kept beside it (`payload.blobs`).

A payload above `payload.inline_limit` is written once to a folder or an S3-compatible store, and what the
store, its queues and its workers' supervisors see of it is a *reference* of some 80 bytes. It is written
by whoever made it (a child, after its node; a client, before it submits) and read by whoever needs it
(a child, before its node; a client that wants a result), so it never passes a supervisor:

* words.py    a blob's name, and a reference to it, which is a Payload with a media type of ours
* folder.py, s3.py    where blobs rest: put, get, list, remove
* carrier.py  puts large payloads out and fetches them again
* backend.py  a store that does so for its clients; its workers use the bare one
* sweep.py    blobs whose run has gone

A blob's name is `STORE/RUN/SHA256-NONCE`. No name is ever used again, so that removing what a run that is
gone has left takes nothing from a new run of the same id. What a node hands on keeps its name, and all of a run goes
with the run. `STORE` is the store's identity, so that several stores can share a place.
"""
