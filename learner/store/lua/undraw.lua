-- Give samples of an update back, undrawn. ARGV: order with token, at_ms, ids, update, ttl_ms, actor, reason.
local c = cjson.decode(ARGV[1])
if tonumber(redis.call("HGET", P .. "state", "fence") or 0) ~= c.token then
  return refuse("conflict", "another learner holds the lease; let it work, or stop it first")
end
local moves = unclaim(c.ids, c.update, c)
log_moves({ type = "undrawn", at_ms = c.at_ms, actor = c.actor, reason = c.reason, update = c.update }, moves)
return #moves
