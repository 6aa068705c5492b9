-- Draw samples into an update. ARGV: order with token, epoch, at_ms, ids, update, caps, actor. All of them or none.
local c = cjson.decode(ARGV[1])
local refused = learning_refused(c.token, c.epoch) or claim_refused(c.ids, c.update, c.at_ms, c.caps)
if refused then
  return refused
end
local moves = claim(c.ids, c.update, c.at_ms)
log_moves({ type = "drawn", at_ms = c.at_ms, actor = c.actor, reason = "", update = c.update, token = c.token }, moves)
return #moves
