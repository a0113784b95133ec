// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::bench {

/// Which engine moves the frames, and how.
struct EngineSetup {
  std::string name = "sync";
  unsigned poll_us = 0;  ///< looks again and again for so long before it sleeps
};

/// The names of all engines.
std::vector<std::string> engine_names();

/// Error: there is no such engine, or it cannot be had here.
[[nodiscard]] Result<std::unique_ptr<net::FrameIo>> create_engine(const EngineSetup& setup,
                                                                  net::FramePort port);

}  // namespace tapir::bench
