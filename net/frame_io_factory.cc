// SPDX-License-Identifier: Apache-2.0
#include "net/frame_io_factory.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "net/base/log.h"
#include "net/sync_calls.h"
#include "net/uring_calls.h"

namespace tapir::net {
namespace {

const char* remedy(int code) {
  switch (code) {
    case ENOSYS:
      return "this kernel has none";
    case EPERM:
      return "it is forbidden here, by the sysctl kernel.io_uring_disabled or by a filter of system calls";
    case ENOMEM:
      return "the limit of locked memory (ulimit -l) is too small for it";
    default:
      return nullptr;
  }
}

std::string explain(const Error& error) {
  const char* cause = remedy(error.code());
  return cause != nullptr ? fmt::format("{}: {}", error.message(), cause) : error.message();
}

Result<std::unique_ptr<FrameCalls>> make_calls(EngineChoice choice) {
  if (choice == EngineChoice::kSync) {
    return std::make_unique<SyncCalls>();
  }
  auto calls = UringCalls::create();
  if (calls) {
    return *std::move(calls);
  }
  if (choice == EngineChoice::kUring) {
    return fail(fmt::format("io=uring: {}; use io=sync or io=auto", explain(calls.error())),
                calls.error().code());
  }
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    log(LogLevel::kInfo,
        fmt::format("frames move by plain system calls (io=sync): {}", explain(calls.error())));
  }
  return std::make_unique<SyncCalls>();
}

}  // namespace

std::optional<EngineChoice> parse_engine(std::string_view word) {
  if (word == "auto") {
    return EngineChoice::kAuto;
  }
  if (word == "uring") {
    return EngineChoice::kUring;
  }
  if (word == "sync") {
    return EngineChoice::kSync;
  }
  return std::nullopt;
}

Result<std::unique_ptr<FrameIo>> make_frame_io(FramePort port, EngineChoice choice,
                                               const FrameEngineOptions& options) {
  TAPIR_TRY_ASSIGN(auto calls, make_calls(choice));
  TAPIR_TRY_ASSIGN(auto engine, FrameEngine::create(std::move(port), std::move(calls), options));
  return engine;
}

}  // namespace tapir::net
