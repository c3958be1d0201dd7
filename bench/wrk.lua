-- Sends the requests of a file, one after the other, over and over: wrk … URL -- FILE
-- A line has five parts, parted by tabs: the thread that sends it (0: any), method, path, token, body.

local threads, requests, at = {}, {}, 0

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

function init(args)
  local shared = false
  for line in io.lines(args[1]) do
    local thread, method, path, token, body = line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
    if thread == "0" or thread == tostring(number) then
      shared = thread == "0"
      local headers = { ["Content-Type"] = body ~= "" and "application/json" or nil }
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      table.insert(requests, wrk.format(method, path, headers, body ~= "" and body or nil))
    end
  end
  -- wrk asks the first thread for a request before it begins, to look at it, and never sends that one.
  if number == 1 then at = #requests - 1 end
  -- Two threads that share their lines are not to ask for the same at the same time.
  if shared and number % 2 == 0 then at = math.floor(#requests / 2) end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
