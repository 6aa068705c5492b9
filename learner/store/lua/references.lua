-- The live references. ARGV: "" (read), "first" (set where none are) or "set"; sha256, at_ms, actor, reason. Returns them.
local state = P .. "state"
local before = redis.call("HGET", state, "references") or ""
if ARGV[1] == "" or (ARGV[1] == "first" and before ~= "") then
  return before
end
redis.call("HSET", state, "references", ARGV[2])
log_event({ type = "references_accepted", at_ms = tonumber(ARGV[3]), actor = ARGV[4], reason = ARGV[5],
  before = before, after = ARGV[2] })
return ARGV[2]
