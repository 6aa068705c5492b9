-- Shared by every script. KEYS[1] is always the bot's key prefix ("tg:{bot}:"); names of rows are built from it.
-- Time is never asked of Redis: at_ms comes from the caller. Texts of people pass through as opaque strings: cjson
-- would change their numbers and refuse some of their characters.
local P = KEYS[1]

local function refuse(kind, message)
  return redis.error_reply("TG:" .. kind .. ":" .. message)
end

-- Append one event to the log, in the same script as the change it tells of. Returns the entry's id.
local function log_event(event)
  return redis.call("XADD", P .. "log", "*", "e", cjson.encode(event))
end

-- Delete a key after a deadline; a later deadline wins.
local function delete_after(key, deadline_ms)
  redis.call("ZADD", P .. "deadlines", "GT", deadline_ms, key)
end

-- nil, or the refusal of a learner whose lease, epoch or permission to learn is gone. epoch may be nil.
local function learning_refused(token, epoch)
  local s = redis.call("HMGET", P .. "state", "fence", "epoch", "frozen")
  if tonumber(s[1] or 0) ~= tonumber(token) then
    return refuse("conflict", "another learner holds the lease; let it work, or stop it first")
  end
  if epoch and tonumber(s[2] or 0) ~= tonumber(epoch) then
    return refuse("conflict", "a rollback, freeze or new policy came in between; see `tayguard status`, then learn again")
  end
  if s[3] == "1" then
    return refuse("conflict", "learning is frozen; thaw it first")
  end
  return nil
end

-- Whether an update counts: it is under way, or the version that it made was not taken back. A row keeps such an update
-- wherever it goes, so that nothing is learned twice.
local function in_force(update)
  if not update or update == "" then
    return false
  end
  if redis.call("HGET", P .. "state", "pending") == update then
    return true
  end
  local version = redis.call("HGET", P .. "learned", update)
  return version and redis.call("SISMEMBER", P .. "undone", version) == 0
end

-- The name of the index that a row belongs to: admitted rows that an update has drawn are apart.
local function index_of(state, update)
  if state == "admitted" and update and update ~= "" then
    return "drawn"
  end
  return state
end

-- A pattern is known for 30 days after the last thing that happened to it; later a repeat stands on its own again.
local function keep_pattern(key, at_ms)
  delete_after(key, at_ms + 30 * 86400000)
end

local SUPPORTS = { held = true, admitted = true, drawn = true }

-- Count a sample's author among the supporters of its pattern while it is held, admitted or drawn.
local function count_support(pattern, author, from, to, at_ms)
  local key = P .. "pattern:" .. pattern
  if SUPPORTS[to] then
    keep_pattern(key, at_ms)
  end
  if (SUPPORTS[from] or false) == (SUPPORTS[to] or false) then
    return
  end
  if SUPPORTS[to] then
    redis.call("HINCRBY", key, author, 1)
  elseif redis.call("HEXISTS", key, author) == 1 and redis.call("HINCRBY", key, author, -1) <= 0 then
    redis.call("HDEL", key, author)
  end
end

-- A pattern knows each of its samples that a reviewer discarded, until that one is reopened.
local function note_discarded(pattern, id, at_ms)
  redis.call("HSET", P .. "pattern:" .. pattern, "!" .. id, 1)
  keep_pattern(P .. "pattern:" .. pattern, at_ms)
end

local function forget_discarded(pattern, id)
  redis.call("HDEL", P .. "pattern:" .. pattern, "!" .. id)
end

-- Move a row that exists to a state: its index, its deadline, its pattern's supporters. Returns {id, from, to}.
-- c: at_ms, ttl_ms (state to milliseconds). Its update stays while it is in force, unless one is given. Where a rollback
-- found the row is forgotten. The caller has checked the move and logs it.
local function move(id, to, c, update)
  local key = P .. "sample:" .. id
  local row = redis.call("HMGET", key, "state", "update", "pattern", "author", "due_ms")
  update = update or (in_force(row[2]) and row[2] or "")
  local from, index = index_of(row[1], row[2]), index_of(to, update)
  redis.call("ZREM", P .. "in:" .. from, id)
  redis.call("HSET", key, "state", to, "since_ms", c.at_ms, "update", update)
  redis.call("HDEL", key, "was_state", "was_update", "was_released_by")
  redis.call("ZADD", P .. "in:" .. index, to == "held" and row[5] or c.at_ms, id)
  if c.ttl_ms[to] and index ~= "drawn" then
    redis.call("ZADD", P .. "sample-deadlines", c.at_ms + c.ttl_ms[to], id)
  else
    redis.call("ZREM", P .. "sample-deadlines", id)
  end
  count_support(row[3], row[4], from, index, c.at_ms)
  return { id, row[1], to }
end

-- Log moves {id, from, to, reason} as one event, each with its row's reviewer and update, and note it on every moved row.
-- Logs nothing when nothing moved.
local function log_moves(event, moves)
  if #moves == 0 then
    return ""
  end
  for _, m in ipairs(moves) do
    local row = redis.call("HMGET", P .. "sample:" .. m[1], "released_by", "update")
    m[4], m[5], m[6] = m[4] or "", row[1], row[2]
  end
  event.moves = moves
  local entry = log_event(event)
  for _, m in ipairs(moves) do
    redis.call("HSET", P .. "sample:" .. m[1], "last", entry)
  end
  return entry
end

-- A settled sample comes back as a row, in the state it settled in, unless it is there. fields: JSON of what decides.
-- What its client was not told of stays unlearnable, also where the index does not know of it yet.
local function restore(id, fields, body, at_ms)
  local key = P .. "sample:" .. id
  if redis.call("EXISTS", key) == 1 then
    return
  end
  local row = cjson.decode(fields)
  redis.call("HSET", key, "since_ms", at_ms, "reason", "", "good", 0, "bad", 0, "last", "", "body", body)
  for name, value in pairs(row) do
    redis.call("HSET", key, name, value)
  end
  if redis.call("HGET", P .. "exchange:" .. row.request_id, "disowned") == "1" then
    redis.call("HSET", key, "learnable", 0)
  end
  redis.call("ZADD", P .. "in:" .. index_of(row.state, row.update), at_ms, id)
  redis.call("SADD", P .. "by-author:" .. row.author, id)
  redis.call("SADD", P .. "by-version:" .. row.version, id)
end

local function day_of(at_ms)
  return string.format("%d", math.floor(at_ms / 86400000))
end

-- nil, or the refusal to draw samples into an update: each must be admitted and undrawn (or drawn by this very update),
-- not from a version that was taken back, and within the day's caps. caps: author, conversation, total (each may be nil).
local function claim_refused(ids, update, at_ms, caps)
  local day, taken = P .. "drawn:" .. day_of(at_ms), {}
  for _, id in ipairs(ids) do
    local row = redis.call("HMGET", P .. "sample:" .. id, "state", "update", "author", "conversation", "version",
      "released_by")
    if row[1] ~= "admitted" or (row[2] ~= "" and row[2] ~= update) then
      return refuse("conflict", "sample " .. id .. " is no longer admitted and undrawn; draw again")
    end
    if redis.call("SISMEMBER", P .. "undone", row[5]) == 1 and (row[6] or "") == "" then
      return refuse("conflict", "sample " .. id .. " comes from a version that was taken back; draw again")
    end
    local owners = row[2] == update and {} or { author = "a:" .. row[3], conversation = "c:" .. row[4], total = "*" }
    for cap, owner in pairs(owners) do
      taken[owner] = (taken[owner] or tonumber(redis.call("HGET", day, owner) or 0)) + 1
      if owner ~= "c:" and caps[cap] and taken[owner] > caps[cap] then
        return refuse("conflict", "sample " .. id .. " is over the day's cap of its " .. cap .. "; draw again")
      end
    end
  end
  return nil
end

-- Draw samples into an update; claim_refused has been asked. Returns the moves, for log_moves.
local function claim(ids, update, at_ms)
  local day, moves = P .. "drawn:" .. day_of(at_ms), {}
  for _, id in ipairs(ids) do
    local key = P .. "sample:" .. id
    local row = redis.call("HMGET", key, "update", "author", "conversation")
    if row[1] ~= update then
      redis.call("HSET", key, "update", update, "since_ms", at_ms, "drawn_ms", at_ms)
      redis.call("ZREM", P .. "in:admitted", id)
      redis.call("ZADD", P .. "in:drawn", at_ms, id)
      redis.call("ZREM", P .. "sample-deadlines", id)
      for _, owner in ipairs({ "a:" .. row[2], "c:" .. row[3], "*" }) do
        redis.call("HINCRBY", day, owner, 1)
      end
      moves[#moves + 1] = { id, "admitted", "admitted" }
    end
  end
  delete_after(day, at_ms + 3 * 86400000)
  return moves
end

-- Give back to the caps what the draw of a row took, while its day is still counted.
local function uncount(key)
  local row = redis.call("HMGET", key, "drawn_ms", "author", "conversation")
  local day = row[1] and P .. "drawn:" .. day_of(row[1])
  for _, owner in ipairs(day and { "a:" .. row[2], "c:" .. row[3], "*" } or {}) do
    if tonumber(redis.call("HGET", day, owner) or 0) > 0 then
      redis.call("HINCRBY", day, owner, -1)
    end
  end
end

-- Give samples of an update back, undrawn, and the caps with them; what was quarantined meanwhile stays there. Returns the
-- moves, for log_moves.
local function unclaim(ids, update, c)
  local moves = {}
  for _, id in ipairs(ids) do
    local key = P .. "sample:" .. id
    local row = redis.call("HMGET", key, "update", "state", "was_update")
    if row[1] == update then
      uncount(key)
      if row[2] == "admitted" then
        moves[#moves + 1] = move(id, "admitted", c, "")
      else
        redis.call("HSET", key, "update", "")
        if row[3] == update then
          redis.call("HSET", key, "was_update", "")
        end
        moves[#moves + 1] = { id, row[2], row[2] }
      end
    end
  end
  return moves
end

-- Move the live pointer and note when: `moves` answers what was live at any time.
local function move_live(version, at_ms)
  local state = P .. "state"
  local live = redis.call("HGET", state, "live")
  local n = redis.call("HINCRBY", state, "moves", 1)
  redis.call("HSET", state, "live", version, "previous", live and live ~= "" and live or version)
  redis.call("ZADD", P .. "moves", at_ms, string.format("%012d:%s", n, version))
end
