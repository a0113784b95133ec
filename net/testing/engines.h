// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <ostream>
#include <utility>

#include "net/frame_io_factory.h"
#include "net/sync_calls.h"
#include "net/testing/must_run.h"
#include "net/uring_calls.h"

namespace tapir::net::testing {

/// One of the two engines.
struct Engine {
  const char* name;
  EngineChoice choice;
  Result<std::unique_ptr<FrameCalls>> (*calls)();

  Result<std::unique_ptr<FrameIo>> create(FramePort port) const {
    return make_frame_io(std::move(port), choice);
  }
  friend std::ostream& operator<<(std::ostream& out, const Engine& engine) { return out << engine.name; }
};

/// Every suite about engines runs with each of these.
inline constexpr std::array<Engine, 2> kEngines{{
    {"sync", EngineChoice::kSync,
     []() -> Result<std::unique_ptr<FrameCalls>> { return std::make_unique<SyncCalls>(); }},
    {"uring", EngineChoice::kUring,
     []() -> Result<std::unique_ptr<FrameCalls>> { return UringCalls::create(); }},
}};

/// Skips the test where the engine cannot be had.
#define TAPIR_NEEDS_ENGINE(engine)                      \
  do {                                                  \
    if (const auto calls = (engine).calls(); !calls) {  \
      TAPIR_SKIP_TEST(calls.error().message().c_str()); \
    }                                                   \
  } while (false)

}  // namespace tapir::net::testing
