// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "net/testing/engines.h"

namespace tapir::bench {

std::vector<std::string> engine_names() {
  std::vector<std::string> names;
  names.reserve(net::testing::kEngines.size());
  for (const auto& engine : net::testing::kEngines) {
    names.emplace_back(engine.name);
  }
  return names;
}

Result<std::unique_ptr<net::FrameIo>> create_engine(const EngineChoice& choice, net::FramePort port) {
  if (choice.poll_us != 0) {
    return fail(fmt::format("engine {} has no busy polling (poll-us={})", choice.name, choice.poll_us));
  }
  for (const auto& engine : net::testing::kEngines) {
    if (choice.name == engine.name) {
      return engine.create(std::move(port));
    }
  }
  return fail(
      fmt::format("there is no engine '{}'; there are {}", choice.name, fmt::join(engine_names(), ", ")));
}

}  // namespace tapir::bench
