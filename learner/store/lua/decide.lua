-- Move samples by one event, each where its state allows it. ARGV: order, then per restored sample its id, fields and body.
-- order: event, sources, to, actor, reason, at_ms, ttl_ms, ids, epoch, remember, more, released (the reviewer), counts.
-- Returns {id, result, state, detail} per id.
local c = cjson.decode(ARGV[1])
local sources = {}
for _, state in ipairs(c.sources) do
  sources[state] = true
end

for i = 2, #ARGV, 3 do
  restore(ARGV[i], ARGV[i + 1], ARGV[i + 2], c.at_ms)
end

local function why_not(row)
  if not row[1] then
    return "unknown", "no sample in motion has this id"
  end
  if c.epoch > 0 and row[3] and tonumber(row[3]) >= c.epoch then
    return "already", "this rollback has put it there"
  end
  if not sources[row[1]] then
    return row[1] == c.to and "already" or "refused", "it is " .. row[1]
  end
  if c.released ~= "" and row[2] == "0" then
    return "refused", "nothing can be learned from it; it is here to be reviewed only"
  end
  return nil
end

local outcomes, moves, memory = {}, {}, {}
for i, id in ipairs(c.ids) do
  local key = P .. "sample:" .. id
  local row = redis.call("HMGET", key, "state", "learnable", "requarantined", "released_by", "update", "author", "pattern")
  local result, detail = why_not(row)
  if result then
    outcomes[i] = { id, result, row[1] or "", detail }
  else
    local m = move(id, c.to, c)
    moves[#moves + 1] = { m[1], m[2], m[3], c.reason }
    memory[#memory + 1] = { id, m[2], m[3], row[4] }
    redis.call("HSET", key, "reason", c.reason, "released_by", c.released)
    if c.epoch > 0 then
      redis.call("HSET", key, "requarantined", c.epoch, "was_state", m[2], "was_update", row[5], "was_released_by", row[4])
    end
    if c.counts then
      redis.call("HINCRBY", P .. "author:" .. row[6], c.counts, 1)
    end
    if c.event == "discarded" then
      note_discarded(row[7], id, c.at_ms)
    else
      forget_discarded(row[7], id)
    end
    outcomes[i] = { id, "moved", c.to, "" }
  end
end
local entry = log_moves({ type = c.event, at_ms = c.at_ms, actor = c.actor, reason = c.reason, epoch = c.epoch }, moves)
if c.remember and #moves > 0 then
  local key = P .. "decision:" .. c.actor
  local batches = c.more and cjson.decode(redis.call("GET", key) or "[]") or {}
  batches[#batches + 1] = { entry = entry, event = c.event, moves = memory }
  redis.call("SET", key, cjson.encode(batches))
  delete_after(key, c.at_ms + c.remember_ms)
end
return outcomes
