-- Versions are live again: samples that a rollback took back and nobody touched since go back to where it found them, and
-- what such a version was trained on is its update's again, wherever it is. Safe to repeat. ARGV: order (ids, updates: id to
-- the update that is live again, at_ms, ttl_ms, actor, reason), then per restored sample its id, fields and body.
-- Returns {id, result, state, detail} per id.
local c = cjson.decode(ARGV[1])
for i = 2, #ARGV, 3 do
  restore(ARGV[i], ARGV[i + 1], ARGV[i + 2], c.at_ms)
end

-- The update that a row is to be of, and whether the row goes back to where it was.
local function fate(id, version, was, was_update)
  local update = c.updates[id]
  if update then
    return update, was
  elseif not was then
    return nil, false
  elseif was_update == "" then
    return "", redis.call("SISMEMBER", P .. "undone", version) == 0
  end
  return was_update, in_force(was_update)
end

local outcomes, moves = {}, {}
for i, id in ipairs(c.ids) do
  local key = P .. "sample:" .. id
  local row = redis.call("HMGET", key, "state", "update", "version", "was_state", "was_update", "was_released_by")
  local update, back = fate(id, row[3], row[4], row[5])
  if not row[1] then
    outcomes[i] = { id, "unknown", "", "no sample in motion has this id" }
  elseif back then
    moves[#moves + 1] = move(id, row[4], c, update)
    redis.call("HSET", key, "reason", "", "released_by", row[6])
    outcomes[i] = { id, "moved", row[4], "" }
  else
    if update and c.updates[id] and row[2] ~= update then
      moves[#moves + 1] = move(id, row[1], c, update)
    end
    outcomes[i] = { id, "already", row[1], "somebody decided on it since" }
  end
end
log_moves({ type = "rollback_returned", at_ms = c.at_ms, actor = c.actor, reason = c.reason }, moves)
return outcomes
