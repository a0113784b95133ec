// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/frame_slots.h"
#include "tools/bench/path_case.h"
#include "tools/bench/raw_ring.h"
#include "virtio/guest_memory.h"

namespace tapir::bench {

/// A way to move frames between memory and a bare tap (O_NONBLOCK): what no virtio device can be faster than.
struct RawMethod {
  enum class Call : std::uint8_t {
    kPlain,        ///< write(2), read(2)
    kVector,       ///< writev(2), readv(2)
    kUring,        ///< IORING_OP_WRITE, READ
    kUringVector,  ///< IORING_OP_WRITEV, READV
    kUringFixed,   ///< IORING_OP_WRITE_FIXED, READ_FIXED
    kMultishot,    ///< IORING_OP_READ_MULTISHOT from a ring of buffers; receiving only
  };
  Call call = Call::kPlain;
  unsigned batch = 1;   ///< requests for one io_uring_enter(2)
  unsigned pieces = 0;  ///< buffers that a vector read has; 0: as many as any frame needs

  /// "write()", "readv() of 46", "ring WRITE_FIXED x64".
  std::string name(bool transmit) const;
};

/// A RawMethod on a tap, alone.
class RawPath final : public Path {
 public:
  /// `tap_fd` is borrowed. Error: the kernel does not have it.
  [[nodiscard]] static Result<std::unique_ptr<Path>> create(int tap_fd, const Traffic& traffic,
                                                            const Shape& shape, const RawMethod& transmit,
                                                            const RawMethod& receive);

  unsigned room() const override { return FrameSlots::kSlots; }
  void give(std::uint64_t first_number, unsigned frames) override;
  void replenish() override;
  [[nodiscard]] Status work() override;
  unsigned take_sent() override { return std::exchange(sent_, 0); }
  unsigned collect(SequenceChecker& checker) override;
  Counts counts() const override;

 private:
  /// A frame that was received, from this buffer on.
  struct Arrival {
    std::size_t buffer;
    std::size_t bytes;
  };

  RawPath(int tap_fd, virtio::GuestMemory memory, const Traffic& traffic, const Shape& shape,
          const RawMethod& transmit, const RawMethod& receive);

  [[nodiscard]] Status set_up_ring();
  [[nodiscard]] Status send_plain();
  [[nodiscard]] Status send_by_ring();
  [[nodiscard]] Status receive_plain();
  [[nodiscard]] Status receive_by_ring();
  [[nodiscard]] Status receive_multishot();
  bool is_ring(const RawMethod& method) const { return method.call >= RawMethod::Call::kUring; }
  /// Buffers that one read has, and that one frame can fill.
  std::size_t buffers_per_read() const;
  std::size_t buffers_for(std::size_t bytes) const;

  const int tap_fd_;
  const virtio::GuestMemory memory_;
  const Traffic traffic_;
  const RawMethod transmit_;
  const RawMethod receive_;
  FrameSlots slots_;
  std::optional<RawRing> ring_;
  std::uint64_t next_slot_ = 0;  ///< to send from
  unsigned to_send_ = 0;
  unsigned sent_ = 0;
  std::size_t first_buffer_ = 0;  ///< since the last collect()
  std::size_t used_buffers_ = 0;
  std::vector<Arrival> arrivals_;
  std::uint64_t syscalls_ = 0;
};

}  // namespace tapir::bench
