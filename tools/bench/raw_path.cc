// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/raw_path.h"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace tapir::bench {
namespace {

using Call = RawMethod::Call;

constexpr unsigned kMaxBatch = 128;

Error explain_read(int code) {
  if (code == EOPNOTSUPP) {
    return Error("a tap of this kernel cannot be read with RWF_NOWAIT (Linux 6.4 and later can)", code);
  }
  return fail_errno("reading the tap", code).value();
}

}  // namespace

std::string RawMethod::name(bool transmit) const {
  const std::string_view verb = transmit ? "write" : "read";
  const std::string_view opcode = transmit ? "WRITE" : "READ";
  const std::string of = pieces == 0 ? std::string() : fmt::format(" of {}", pieces);
  switch (call) {
    case Call::kPlain:
      return fmt::format("{}()", verb);
    case Call::kVector:
      return fmt::format("{}v(){}", verb, of);
    case Call::kUring:
      return fmt::format("ring {} x{}", opcode, batch);
    case Call::kUringVector:
      return fmt::format("ring {}V{} x{}", opcode, of, batch);
    case Call::kUringFixed:
      return fmt::format("ring {}_FIXED x{}", opcode, batch);
    case Call::kMultishot:
      break;
  }
  return "ring READ_MULTISHOT";
}

RawPath::RawPath(int tap_fd, virtio::GuestMemory memory, const Traffic& traffic, const Shape& shape,
                 const RawMethod& transmit, const RawMethod& receive)
    : tap_fd_(tap_fd),
      memory_(std::move(memory)),
      traffic_(traffic),
      transmit_(transmit),
      receive_(receive),
      slots_(memory_, traffic.mix, shape) {
  arrivals_.reserve(FrameSlots::kSlots);
}

Result<std::unique_ptr<Path>> RawPath::create(int tap_fd, const Traffic& traffic, const Shape& shape,
                                              const RawMethod& transmit, const RawMethod& receive) {
  TAPIR_TRY_ASSIGN(auto memory, virtio::GuestMemory::create(FrameSlots::kMemoryBytes));
  std::unique_ptr<RawPath> path(new RawPath(tap_fd, std::move(memory), traffic, shape, transmit, receive));
  TAPIR_TRY(path->set_up_ring());
  return path;
}

Status RawPath::set_up_ring() {
  const bool sends = traffic_.transmit && is_ring(transmit_);
  const bool receives = traffic_.receive && is_ring(receive_);
  if (!sends && !receives) {
    return {};
  }
  TAPIR_TRY_ASSIGN(RawRing ring, RawRing::create(tap_fd_));
  ring_.emplace(std::move(ring));
  if ((sends && transmit_.call == Call::kUringFixed) || (receives && receive_.call == Call::kUringFixed)) {
    TAPIR_TRY(ring_->register_memory(slots_.all()));
  }
  return receives && receive_.call == Call::kMultishot
             ? ring_->start_multishot(slots_.receive(0, FrameSlots::kSlots))
             : Status{};
}

void RawPath::give(std::uint64_t first_number, unsigned frames) {
  for (unsigned i = 0; i < frames; ++i) {
    const std::size_t slot = next_slot_ + i;
    stamp(slots_.transmit(slot), slots_.transmit_bytes(slot), first_number + i);
  }
  to_send_ = frames;
}

void RawPath::replenish() {
  // A raw method has all its buffers again with every step.
}

Status RawPath::work() {
  if (to_send_ != 0) {
    TAPIR_TRY(is_ring(transmit_) ? send_by_ring() : send_plain());
  }
  if (!traffic_.receive) {
    return {};
  }
  if (receive_.call == Call::kMultishot) {
    return receive_multishot();
  }
  return is_ring(receive_) ? receive_by_ring() : receive_plain();
}

Status RawPath::send_plain() {
  for (; to_send_ != 0; --to_send_) {
    const auto pieces = slots_.transmit(next_slot_);
    const ssize_t written = transmit_.call == Call::kPlain
                                ? ::write(tap_fd_, pieces.front().iov_base, pieces.front().iov_len)
                                : ::writev(tap_fd_, pieces.data(), static_cast<int>(pieces.size()));
    ++syscalls_;
    if (written != static_cast<ssize_t>(slots_.transmit_bytes(next_slot_))) {
      return fail_errno("writing to the tap");
    }
    ++next_slot_;
    ++sent_;
  }
  return {};
}

Status RawPath::send_by_ring() {
  while (to_send_ != 0) {
    const unsigned batch = std::min({transmit_.batch, to_send_, kMaxBatch});
    for (unsigned i = 0; i < batch; ++i) {
      const auto pieces = slots_.transmit(next_slot_ + i);
      const auto bytes = static_cast<unsigned>(pieces.front().iov_len);
      io_uring_sqe* const sqe = ring_->request();
      if (transmit_.call == Call::kUringVector) {
        io_uring_prep_writev(sqe, 0, pieces.data(), static_cast<unsigned>(pieces.size()), 0);
      } else if (transmit_.call == Call::kUringFixed) {
        io_uring_prep_write_fixed(sqe, 0, pieces.front().iov_base, bytes, 0, 0);
      } else {
        io_uring_prep_write(sqe, 0, pieces.front().iov_base, bytes, 0);
      }
      sqe->flags |= IOSQE_FIXED_FILE;
    }
    ++syscalls_;
    TAPIR_TRY(ring_->submit(batch));
    int error = 0;
    ring_->reap([&](const io_uring_cqe& answer) { error = answer.res < 0 ? -answer.res : error; });
    if (error != 0) {
      return fail_errno("writing to the tap", error);
    }
    next_slot_ += batch;
    sent_ += batch;
    to_send_ -= batch;
  }
  return {};
}

std::size_t RawPath::buffers_for(std::size_t bytes) const {
  const std::size_t buffer = slots_.receive(0, 1).front().iov_len;
  return (bytes + buffer - 1) / buffer;
}

std::size_t RawPath::buffers_per_read() const {
  const bool vector = receive_.call == Call::kVector || receive_.call == Call::kUringVector;
  if (!vector) {
    return 1;
  }
  return receive_.pieces != 0 ? receive_.pieces : slots_.buffers_for_any_frame();
}

Status RawPath::receive_plain() {
  const std::size_t largest = buffers_for(traffic_.mix.largest());
  const std::size_t pieces = buffers_per_read();
  while (used_buffers_ + largest <= FrameSlots::kSlots) {
    const auto into = slots_.receive(first_buffer_ + used_buffers_, pieces);
    const ssize_t bytes = receive_.call == Call::kPlain
                              ? ::read(tap_fd_, into.front().iov_base, into.front().iov_len)
                              : ::readv(tap_fd_, into.data(), static_cast<int>(pieces));
    ++syscalls_;
    if (bytes < 0) {
      return errno == EAGAIN ? Status{} : tl::unexpected<Error>(explain_read(errno));
    }
    arrivals_.push_back({used_buffers_, static_cast<std::size_t>(bytes)});
    used_buffers_ += buffers_for(static_cast<std::size_t>(bytes));
  }
  return {};
}

Status RawPath::receive_by_ring() {
  const std::size_t pieces = buffers_per_read();
  for (bool drained = false; !drained;) {
    const std::size_t room = (FrameSlots::kSlots - used_buffers_) / pieces;
    const auto batch =
        static_cast<unsigned>(std::min({std::size_t{receive_.batch}, std::size_t{kMaxBatch}, room}));
    if (batch == 0) {
      return {};
    }
    for (unsigned i = 0; i < batch; ++i) {
      const auto into = slots_.receive(first_buffer_ + used_buffers_ + i * pieces, pieces);
      const auto bytes = static_cast<unsigned>(into.front().iov_len);
      io_uring_sqe* const sqe = ring_->request();
      if (receive_.call == Call::kUringVector) {
        io_uring_prep_readv(sqe, 0, into.data(), static_cast<unsigned>(pieces), 0);
      } else if (receive_.call == Call::kUringFixed) {
        io_uring_prep_read_fixed(sqe, 0, into.front().iov_base, bytes, 0, 0);
      } else {
        io_uring_prep_read(sqe, 0, into.front().iov_base, bytes, 0);
      }
      sqe->user_data = i;
      read_now(sqe);
    }
    ++syscalls_;
    TAPIR_TRY(ring_->submit(batch));
    int error = 0;
    unsigned got = 0;
    ring_->reap([&](const io_uring_cqe& answer) {
      if (answer.res < 0) {
        error = -answer.res;
        return;
      }
      arrivals_.push_back({used_buffers_ + answer.user_data * pieces, static_cast<std::size_t>(answer.res)});
      ++got;
    });
    used_buffers_ += got * pieces;
    if (error != 0 && error != EAGAIN) {
      return tl::unexpected<Error>(explain_read(error));
    }
    drained = error == EAGAIN;
  }
  return {};
}

Status RawPath::receive_multishot() {
  ++syscalls_;
  TAPIR_TRY(ring_->submit(1));
  bool ended = false;
  int error = 0;
  ring_->reap([&](const io_uring_cqe& answer) {
    if (answer.res >= 0 && (answer.flags & IORING_CQE_F_BUFFER) != 0) {
      arrivals_.push_back({answer.flags >> IORING_CQE_BUFFER_SHIFT, static_cast<std::size_t>(answer.res)});
    } else if (answer.res != -ENOBUFS) {
      error = -answer.res;
    }
    ended = ended || (answer.flags & IORING_CQE_F_MORE) == 0;
  });
  if (error == EINVAL) {
    return fail("this kernel has no IORING_OP_READ_MULTISHOT (Linux 6.7 has)", error);
  }
  if (error != 0) {
    return tl::unexpected<Error>(explain_read(error));
  }
  return ended ? ring_->arm_multishot() : Status{};
}

unsigned RawPath::collect(SequenceChecker& checker) {
  for (const Arrival& arrival : arrivals_) {
    const auto pieces = slots_.receive(first_buffer_ + arrival.buffer,
                                       std::min<std::size_t>(buffers_for(arrival.bytes), FrameSlots::kSlots));
    const auto number = read_stamp(pieces, arrival.bytes);
    if (number) {
      checker.see(*number);
    } else {
      checker.see_damaged();
    }
    if (receive_.call == Call::kMultishot) {
      ring_->give_back(pieces.front(), static_cast<std::uint16_t>(arrival.buffer));
    }
  }
  const auto count = static_cast<unsigned>(arrivals_.size());
  arrivals_.clear();
  if (receive_.call != Call::kMultishot) {
    first_buffer_ += used_buffers_;
  }
  used_buffers_ = 0;
  return count;
}

Path::Counts RawPath::counts() const {
  return {syscalls_, 0, 0};
}

}  // namespace tapir::bench
