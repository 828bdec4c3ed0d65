-- Again: a node as it is at the start of a new round.
local function begin_again(node)
  for _, letter in ipairs({'h', 'e'}) do clear_flag(node, letter) end
  node[ENTRY], node[ATTEMPT], node[LOST], node[DUE] = '-', 1, 0, 0
  node[STARTED], node[FINISHED], node[DIGEST] = false, false, ''
end
