-- wrk's script: the method and body come as arguments, the result goes out as one line of JSON. With a third argument every
-- call has a URL of its own, which no run with another argument asks for; with `alone` it has a connection of its own.
local resolve = wrk.resolve

-- A host of the bench's own is this machine, and asked for without the port, as by those who are redirected.
function wrk.resolve(host, service)
  resolve(host:match("%.test$") and "127.0.0.1" or host, service)
end

function init(args)
  if wrk.host:match("%.test$") then
    wrk.headers["Host"] = wrk.host
  end
  wrk.method = args[1]
  if tonumber(args[2]) > 0 then
    wrk.body = string.rep("x", tonumber(args[2]))
    wrk.headers["Content-Type"] = "application/json"
  end
  if args[3] == "alone" then
    wrk.headers["Connection"] = "close"
  elseif args[3] then
    local path, number = wrk.path, 0
    request = function()
      number = number + 1
      return wrk.format(nil, path .. "?" .. args[3] .. "=" .. number)
    end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"calls": %d, "duration_us": %d, "socket_errors": %d, "status_errors": %d, "timeouts": %d, "latency_us": %.0f}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write, e.status, e.timeout, latency.mean))
end
