// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <ostream>
#include <utility>

#include "net/sync_frame_io.h"

namespace tapir::net::testing {

/// A way to make a FrameIo of a port.
struct Engine {
  const char* name;
  Result<std::unique_ptr<FrameIo>> (*create)(FramePort port);

  friend std::ostream& operator<<(std::ostream& out, const Engine& engine) { return out << engine.name; }
};

/// Every suite about engines runs with each of these; a new engine joins by one line here.
inline constexpr std::array<Engine, 1> kEngines{{
    {"sync",
     [](FramePort port) -> Result<std::unique_ptr<FrameIo>> { return SyncFrameIo::create(std::move(port)); }},
}};

}  // namespace tapir::net::testing
