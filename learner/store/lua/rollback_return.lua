-- A rollback is undone: its samples that nobody touched since go back to where they were.
-- ARGV: event JSON with rollback, epoch, mark, at_ms, actor, reason; ttl_ms JSON. Returns how many went back.
local e = cjson.decode(ARGV[1])
local ttl_ms = cjson.decode(ARGV[2])
local key = P .. "rollback-before:" .. e.rollback
local before = redis.call("HGETALL", key)
local moves = {}
for i = 1, #before, 2 do
  local id, was = before[i], cjson.decode(before[i + 1])
  local row = redis.call("HMGET", P .. "sample:" .. id, "state", "reason", "requarantined")
  if row[1] == "quarantined" and row[2] == e.mark and tonumber(row[3] or 0) == e.epoch then
    local m = move(id, was[1], { at_ms = e.at_ms, ttl_ms = ttl_ms })
    redis.call("HSET", P .. "sample:" .. id, "reason", "", "released_by", was[3])
    if was[2] ~= "" then
      claim({ id }, was[2], e.at_ms)
    end
    moves[#moves + 1] = { m[1], m[2], m[3], "" }
  end
end
redis.call("DEL", key)
e.type = "rollback_returned"
log_moves(e, moves)
return #moves
