-- Revert an actor's last decision where nothing happened to its samples since. ARGV: order (actor, at_ms, ttl_ms).
-- restored is false at first: when a sample has settled meanwhile, nothing moves and its id comes back as missing. Then per
-- settled sample its id, fields and body follow. Returns {id, result, state, detail} per id of the decision.
local c = cjson.decode(ARGV[1])
local key = P .. "decision:" .. c.actor
local batches = cjson.decode(redis.call("GET", key) or "[]")
local COUNTS = { released = "released", discarded = "discarded" }
local outcomes, moves = {}, {}

local function revert(batch, memory)
  local id, from, to = memory[1], memory[2], memory[3]
  local sample = P .. "sample:" .. id
  local row = redis.call("HMGET", sample, "state", "last", "author", "pattern")
  if not row[1] then
    return { id, "unknown", "", "it is no longer in motion" }
  end
  if row[1] ~= to or row[2] ~= batch.entry then
    return { id, "refused", row[1], "something happened to it since" }
  end
  move(id, from, c)
  redis.call("HSET", sample, "released_by", memory[4])
  if COUNTS[batch.event] then
    redis.call("HINCRBY", P .. "author:" .. row[3], COUNTS[batch.event], -1)
  end
  if batch.event == "discarded" then
    forget_discarded(row[4], id)
  elseif batch.event == "reopened" and from == "discarded" then
    note_discarded(row[4], id, c.at_ms)
  end
  moves[#moves + 1] = { id, to, from, "undone" }
  return { id, "moved", from, "" }
end

if not c.restored then
  local missing = {}
  for _, batch in ipairs(batches) do
    for _, memory in ipairs(batch.moves) do
      if redis.call("EXISTS", P .. "sample:" .. memory[1]) == 0 then
        missing[#missing + 1] = { memory[1], "missing", "", "" }
      end
    end
  end
  if #missing > 0 then
    return missing
  end
end
for i = 2, #ARGV, 3 do
  restore(ARGV[i], ARGV[i + 1], ARGV[i + 2], c.at_ms)
end
for _, batch in ipairs(batches) do
  for _, memory in ipairs(batch.moves) do
    outcomes[#outcomes + 1] = revert(batch, memory)
  end
end
log_moves({ type = "undone", at_ms = c.at_ms, actor = c.actor, reason = "" }, moves)
redis.call("DEL", key)
return outcomes
