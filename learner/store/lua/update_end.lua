-- An update ends without promotion. ARGV: event JSON with update, outcome, at_ms, actor, reason.
local e = cjson.decode(ARGV[1])
if redis.call("HGET", P .. "state", "pending") == e.update then
  redis.call("HDEL", P .. "state", "pending")
end
e.type = "update_ended"
log_event(e)
