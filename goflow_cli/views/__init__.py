"""How flows and runs look: one DAG layout with several painters, a live view, plain lines.

Read in this order: `drawing` (the formats, what a screen can show), `layout` (what stands where; with
`bundles`, `assembly`, and below them `layers`, `columns`, `channel`, `rails`), `block` (its result),
`terminal` and `canvas` or `svg` (painting it), `labels`, `captions` and `listing` (the words in and around
it), `mermaid`, `dot`, `definition` (formats with a layout of their own or none). `view` picks `live`
(`frame`, `compact`, `region`, `output`) or `plain`.
"""
