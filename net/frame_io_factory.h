// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "net/base/result.h"
#include "net/frame_engine.h"
#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::net {

/// Which engine moves the frames.
enum class EngineChoice : std::uint8_t {
  kAuto,   ///< uring where this process may have an io_uring, else sync
  kUring,  ///< uring or an error
  kSync,
};

/// "auto", "uring" or "sync"; nothing for any other word.
std::optional<EngineChoice> parse_engine(std::string_view word);

/// Makes an engine of a port. With kAuto, one line in the log says why it is not uring, once for all ports.
/// Any thread, one at a time; the engine is bound to the thread that calls its start(). Error: of kUring, why
/// there is none; or that of FrameEngine::create().
[[nodiscard]] Result<std::unique_ptr<FrameIo>> make_frame_io(FramePort port, EngineChoice choice,
                                                             const FrameEngineOptions& options = {});

}  // namespace tapir::net
