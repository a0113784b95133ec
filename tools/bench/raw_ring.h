// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "net/base/mapping.h"
#include "net/base/result.h"

namespace tapir::bench {

/// The io_uring of a raw method, with the best set-up that the kernel has and the tap as its registered file
/// 0. The thread that made it only.
class RawRing {
 public:
  static constexpr unsigned kEntries = 256;
  static constexpr std::uint16_t kBufferGroup = 1;

  /// Error: io_uring is not to be had; it says why.
  [[nodiscard]] static Result<RawRing> create(int tap_fd);
  RawRing(RawRing&&) noexcept = default;
  RawRing& operator=(RawRing&&) = delete;
  RawRing(const RawRing&) = delete;
  RawRing& operator=(const RawRing&) = delete;
  ~RawRing();

  /// Makes `memory` buffer 0 of WRITE_FIXED and READ_FIXED.
  [[nodiscard]] Status register_memory(std::span<std::byte> memory);
  /// Gives these buffers to READ_MULTISHOT, numbered from 0, and arms it.
  [[nodiscard]] Status start_multishot(std::span<const iovec> buffers);
  /// Gives one of them back.
  void give_back(const iovec& buffer, std::uint16_t number);
  [[nodiscard]] Status arm_multishot();

  /// A request to fill in, on the registered tap.
  io_uring_sqe* request();
  /// Submits all requests and waits for `count` answers.
  [[nodiscard]] Status submit(unsigned count);
  /// Calls `each` with every answer that is there, and forgets them.
  template <typename Each>
  unsigned reap(Each each) {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* answer = nullptr;
    io_uring_for_each_cqe(ring_.get(), head, answer) {
      each(*answer);
      ++count;
    }
    io_uring_cq_advance(ring_.get(), count);
    return count;
  }

 private:
  explicit RawRing(std::unique_ptr<io_uring> ring) : ring_(std::move(ring)) {}

  std::unique_ptr<io_uring> ring_;
  Mapping buffer_ring_;
};

/// The request for reading at most `pieces` without waiting: an empty tap answers -EAGAIN at once, and
/// nothing stays armed (Linux 6.4 and later for taps).
void read_now(io_uring_sqe* request);

}  // namespace tapir::bench
