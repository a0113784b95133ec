// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/engine.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "net/frame_io_factory.h"

namespace tapir::bench {

std::vector<std::string> engine_names() {
  return {"sync", "uring"};
}

Result<std::unique_ptr<net::FrameIo>> create_engine(const EngineSetup& setup, net::FramePort port) {
  const auto choice = net::parse_engine(setup.name);
  if (!choice) {
    return fail(fmt::format("there is no engine '{}'", setup.name));
  }
  net::FrameEngineOptions options;
  options.busy_poll = std::chrono::microseconds(setup.poll_us);
  return net::make_frame_io(std::move(port), *choice, options);
}

}  // namespace tapir::bench
