-- Decide on held samples whose cool-down is over, in the order given. ARGV: order with token, epoch, at_ms, ids, vetoes
-- (id to reason), k, young_ms, ttl_ms, actor. Returns {admitted ids, {id, reason} quarantined, number waiting}.
local c = cjson.decode(ARGV[1])
local refused = learning_refused(c.token, c.epoch)
if refused then
  return refused
end
local known_of = {}

-- What is known of a pattern: whether a reviewer discarded one of it, and its independent supporters; young authors whom no
-- reviewer released are one together.
local function known_of_pattern(pattern)
  if known_of[pattern] then
    return known_of[pattern]
  end
  local all, young, known, discarded = redis.call("HKEYS", P .. "pattern:" .. pattern), false, {}, false
  local n = 0
  for _, field in ipairs(all) do
    local author = string.gsub(field, "^f:", "")
    if string.sub(field, 1, 1) == "!" then
      discarded = true
    elseif field ~= "*" and not known[author] then
      known[author] = true
      local a = redis.call("HMGET", P .. "author:" .. author, "first_ms", "released")
      if tonumber(a[2] or 0) <= 0 and c.at_ms - tonumber(a[1] or c.at_ms) < c.young_ms then
        young = true
      else
        n = n + 1
      end
    end
  end
  known_of[pattern] = { discarded = discarded, supporters = n + (young and 1 or 0) }
  return known_of[pattern]
end

-- "admit", "wait", or why it goes to quarantine.
local function fate(id, row)
  local pattern = P .. "pattern:" .. row[2]
  if c.vetoes[id] then
    return c.vetoes[id]
  elseif redis.call("SISMEMBER", P .. "undone", row[3]) == 1 then
    return "rollback"
  elseif known_of_pattern(row[2]).discarded then
    return "repeats_discarded"
  elseif row[6] == "0" or (row[4] == "exchange" and tonumber(row[5]) <= 0) then
    return "wait"
  elseif redis.call("HSETNX", pattern, "*", id) == 1 or redis.call("HGET", pattern, "*") == id then
    return "admit"
  end
  return known_of_pattern(row[2]).supporters >= c.k and "admit" or "wait"
end

local admitted, quarantined, waiting, ups, downs = {}, {}, 0, {}, {}
for _, id in ipairs(c.ids) do
  local key = P .. "sample:" .. id
  local row = redis.call("HMGET", key, "state", "pattern", "version", "kind", "good", "learnable", "due_ms")
  if row[1] == "held" and tonumber(row[7]) <= c.at_ms then
    local verdict = fate(id, row)
    if verdict == "wait" then
      waiting = waiting + 1
    else
      local to = verdict == "admit" and "admitted" or "quarantined"
      local m = move(id, to, c)
      local reason = verdict == "admit" and "cool_down_over" or verdict
      redis.call("HSET", key, "reason", reason)
      m[4] = reason
      if verdict == "admit" then
        admitted[#admitted + 1], ups[#ups + 1] = id, m
      else
        quarantined[#quarantined + 1], downs[#downs + 1] = { id, reason }, m
      end
    end
  end
end
log_moves({ type = "admitted", at_ms = c.at_ms, actor = c.actor, reason = "cool_down_over", token = c.token }, ups)
log_moves({ type = "quarantined", at_ms = c.at_ms, actor = c.actor, reason = "", token = c.token }, downs)
return { admitted, quarantined, waiting }
