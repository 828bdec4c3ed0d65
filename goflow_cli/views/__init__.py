"""How flows and runs look: one DAG layout with several painters, a live view, plain lines.

What stands where is decided in `goflow.drawing`, which the dashboard shares: `layout`, with `bundles` and
`assembly`, and below them `layers`, `columns`, `channel` and `rails`; `block` is its result; `labels`,
`captions` and `listing` are the words in and around it; `svg` paints it for pages. Here, `drawing` knows the
formats and what a screen can show; `terminal` and `canvas` paint; `mermaid`, `dot` and `definition` need no
layout of ours. `view` picks `live` (`frame`, `compact`, `region`, `output`) or `plain`.
"""
