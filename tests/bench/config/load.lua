-- wrk's script: the method and body come as arguments, the result goes out as one line of JSON.
function init(args)
  wrk.method = args[1]
  if tonumber(args[2]) > 0 then
    wrk.body = string.rep("x", tonumber(args[2]))
    wrk.headers["Content-Type"] = "application/json"
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"calls": %d, "duration_us": %d, "socket_errors": %d, "status_errors": %d, "timeouts": %d, "latency_us": %.0f}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write, e.status, e.timeout, latency.mean))
end
