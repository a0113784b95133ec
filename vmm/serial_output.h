// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "vmm/serial.h"

namespace tapir::vmm {

/// What a guest printed and will never be written.
struct SerialLoss {
  std::uint64_t bytes = 0;
  std::string reason;  ///< the end of a sentence; empty when nothing was lost
};

/// What a guest prints, on its way to a file, a pipe or a terminal: a ring of kRingBytes, emptied by a thread
/// of its own. Whatever the consumer does (reads slowly, stops, closes, has no space left), put() neither
/// waits nor grows: bytes that find the ring full, or that the descriptor refuses, are dropped and counted.
///
/// The descriptor stays as it was handed to us. O_NONBLOCK would belong to the open file, which a shell
/// shares with others, so the thread polls and writes small pieces, and a write that blocks all the same
/// blocks only that thread. Its signals are blocked, so that a closed pipe or a file size limit is an error
/// of write(2) and no signal.
///
/// The descriptor is borrowed for start() only, which duplicates it. So a reader sees the end of a pipe once
/// this object is gone and the caller's own descriptor is closed.
class SerialOutput final : public SerialSink {
 public:
  static constexpr std::size_t kRingBytes = std::size_t{256} * 1024;
  /// How long finish() waits for a consumer that does not read.
  static constexpr std::chrono::milliseconds kFlushTime{1000};

  /// Error: `fd` is not open, or the host has no eventfd or thread left.
  [[nodiscard]] static Result<std::unique_ptr<SerialOutput>> start(int fd);

  SerialOutput(const SerialOutput&) = delete;
  SerialOutput& operator=(const SerialOutput&) = delete;
  ~SerialOutput() override;

  void put(std::span<const std::byte> bytes) override;

  /// Waits until everything put before is written or dropped, at most `limit`; returns whether that was
  /// reached. Any thread.
  bool flush(std::chrono::milliseconds limit);

  /// flush(kFlushTime); then the thread ends. One that hangs inside write(2) is abandoned: it touches neither
  /// this object nor the descriptor again. Nothing may be put afterwards. The destructor calls it if nobody
  /// did.
  void finish();

  /// What was lost so far; after finish() all that was. Any thread.
  SerialLoss loss() const;

 private:
  class State;
  SerialOutput(std::shared_ptr<State> state, std::thread writer);

  std::shared_ptr<State> state_;  ///< shared with the thread, which may have to be abandoned
  std::thread writer_;
};

}  // namespace tapir::vmm
