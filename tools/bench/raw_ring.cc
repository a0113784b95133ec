// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/raw_ring.h"

#include <sys/mman.h>

#include <array>
#include <cerrno>

#include "net/base/check.h"

namespace tapir::bench {
namespace {

// Linux 6.7; Debian 12's headers are older.
constexpr std::uint8_t kReadMultishot = 49;

int make_ring(io_uring& ring) {
  // The first of these that the kernel knows.
  constexpr std::array<unsigned, 3> kFlags{
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL, 0};
  int status = -EINVAL;
  for (const unsigned flags : kFlags) {
    if (status == -EINVAL) {
      status = io_uring_queue_init(RawRing::kEntries, &ring, flags);
    }
  }
  return status;
}

}  // namespace

Result<RawRing> RawRing::create(int tap_fd) {
  auto ring = std::make_unique<io_uring>();
  if (const int status = make_ring(*ring); status < 0) {
    return fail_errno("io_uring is not to be had here: io_uring_setup", -status);
  }
  RawRing calls(std::move(ring));
  if (const int status = io_uring_register_files(calls.ring_.get(), &tap_fd, 1); status < 0) {
    return fail_errno("io_uring_register_files", -status);
  }
  return calls;
}

RawRing::~RawRing() {
  if (ring_) {
    io_uring_queue_exit(ring_.get());
  }
}

Status RawRing::register_memory(std::span<std::byte> memory) {
  const iovec all{memory.data(), memory.size()};
  const int status = io_uring_register_buffers(ring_.get(), &all, 1);
  return status < 0 ? fail_errno("io_uring_register_buffers (ulimit -l is the limit)", -status) : Status{};
}

Status RawRing::start_multishot(std::span<const iovec> buffers) {
  const std::size_t bytes = buffers.size() * sizeof(io_uring_buf);
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (memory == MAP_FAILED) {
    return fail_errno("mmap");
  }
  buffer_ring_ = Mapping(memory, bytes);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(memory);
  registration.ring_entries = static_cast<std::uint32_t>(buffers.size());
  registration.bgid = kBufferGroup;
  if (const int status = io_uring_register_buf_ring(ring_.get(), &registration, 0); status < 0) {
    return fail_errno("this kernel has no rings of provided buffers (Linux 5.19 has)", -status);
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    give_back(buffers[i], static_cast<std::uint16_t>(i));
  }
  return arm_multishot();
}

void RawRing::give_back(const iovec& buffer, std::uint16_t number) {
  auto* const ring = static_cast<io_uring_buf_ring*>(buffer_ring_.address());
  const auto entries = buffer_ring_.size() / sizeof(io_uring_buf);
  io_uring_buf_ring_add(ring, buffer.iov_base, static_cast<unsigned>(buffer.iov_len), number,
                        io_uring_buf_ring_mask(static_cast<std::uint32_t>(entries)), 0);
  io_uring_buf_ring_advance(ring, 1);
}

Status RawRing::arm_multishot() {
  io_uring_sqe* const sqe = request();
  io_uring_prep_rw(kReadMultishot, sqe, 0, nullptr, 0, 0);
  sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  sqe->buf_group = kBufferGroup;
  return submit(0);
}

io_uring_sqe* RawRing::request() {
  io_uring_sqe* const sqe = io_uring_get_sqe(ring_.get());
  CHECK(sqe != nullptr);
  return sqe;
}

Status RawRing::submit(unsigned count) {
  const int status = io_uring_submit_and_wait(ring_.get(), count);
  return status < 0 && status != -EINTR ? fail_errno("io_uring_enter", -status) : Status{};
}

void read_now(io_uring_sqe* request) {
  request->flags |= IOSQE_FIXED_FILE;
  request->rw_flags = RWF_NOWAIT;
}

}  // namespace tapir::bench
