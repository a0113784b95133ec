// SPDX-License-Identifier: Apache-2.0
#include "net/testing/fake_frame_io.h"

#include <linux/if_tun.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/base/check.h"
#include "net/offload.h"

namespace tapir::net::testing {
namespace {

EventFd make_event_fd() {
  auto event = EventFd::create();
  CHECK(event.has_value());
  return *std::move(event);
}

std::optional<timespec> time_until(std::optional<FrameIo::Clock::time_point> deadline) {
  if (!deadline) {
    return std::nullopt;
  }
  const auto left = std::max(FrameIo::Clock::duration::zero(), *deadline - FrameIo::Clock::now());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return timespec{seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
}

}  // namespace

FakeFrameIo::FakeFrameIo() : FakeFrameIo(FrameIoFeatures{true, kAllTunOffloads, 1500}) {}

FakeFrameIo::FakeFrameIo(const FrameIoFeatures& features) : features_(features), wake_(make_event_fd()) {
  watched_.fill(-1);
}

void FakeFrameIo::inject(Frame frame) {
  const std::lock_guard lock(mutex_);
  if (queue_attached_) {
    to_receive_.push_back(std::move(frame));
    wake_.signal();
  }
}

std::size_t FakeFrameIo::queued() const {
  const std::lock_guard lock(mutex_);
  return to_receive_.size();
}

std::vector<FakeFrameIo::Frame> FakeFrameIo::take_sent() {
  const std::lock_guard lock(mutex_);
  return std::exchange(sent_, {});
}

bool FakeFrameIo::wait_for_sent(std::size_t count, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return sent_changed_.wait_for(lock, limit, [&] { return sent_.size() >= count; });
}

void FakeFrameIo::set_transmit_room(std::optional<std::size_t> frames) {
  const std::lock_guard lock(mutex_);
  transmit_room_ = frames;
  wake_.signal();
}

void FakeFrameIo::fail_transmits(int error, std::size_t count) {
  const std::lock_guard lock(mutex_);
  transmit_error_ = error;
  transmit_errors_left_ = count;
}

void FakeFrameIo::refuse_offloads() {
  const std::lock_guard lock(mutex_);
  offloads_refused_ = true;
}

void FakeFrameIo::remove() {
  const std::lock_guard lock(mutex_);
  gone_ = true;
  wake_.signal();
}

std::optional<unsigned> FakeFrameIo::offloads() const {
  const std::lock_guard lock(mutex_);
  return offloads_;
}

unsigned FakeFrameIo::discards() const {
  const std::lock_guard lock(mutex_);
  return discards_;
}

bool FakeFrameIo::receive_wanted() const {
  const std::lock_guard lock(mutex_);
  return receive_wanted_;
}

bool FakeFrameIo::queue_attached() const {
  const std::lock_guard lock(mutex_);
  return queue_attached_;
}

void FakeFrameIo::refuse_queue() {
  const std::lock_guard lock(mutex_);
  queue_refused_ = true;
}

bool FakeFrameIo::started() const {
  const std::lock_guard lock(mutex_);
  return started_;
}

Status FakeFrameIo::set_offloads(unsigned tun_offloads) {
  const std::lock_guard lock(mutex_);
  if (offloads_refused_ || (tun_offloads & ~features_.offloads) != 0) {
    return fail_errno("TUNSETOFFLOAD", EINVAL);
  }
  offloads_ = tun_offloads;
  return {};
}

Status FakeFrameIo::attach_queue(bool attached) {
  const std::lock_guard lock(mutex_);
  if (attached == queue_attached_ || (attached && queue_refused_)) {
    return fail_errno("TUNSETQUEUE", EINVAL);
  }
  queue_attached_ = attached;
  if (!attached) {
    to_receive_.clear();
  }
  return {};
}

Status FakeFrameIo::start() {
  const std::lock_guard lock(mutex_);
  started_ = true;
  return {};
}

Result<unsigned> FakeFrameIo::watch(int event_fd) {
  const auto free = std::find(watched_.begin(), watched_.end(), -1);
  if (free == watched_.end()) {
    return fail("64 descriptors are watched already", ENOSPC);
  }
  *free = event_fd;
  return static_cast<unsigned>(free - watched_.begin());
}

void FakeFrameIo::unwatch(unsigned bit) {
  CHECK(bit < watched_.size());
  watched_[bit] = -1;
}

void FakeFrameIo::want_receive(bool wanted) {
  const std::lock_guard lock(mutex_);
  receive_wanted_ = wanted;
  starved_ = false;
}

FrameIo::WaitResult FakeFrameIo::backend_state() {
  const std::lock_guard lock(mutex_);
  WaitResult result;
  if (gone_) {
    result.receive = !std::exchange(gone_reported_, true);
    return result;
  }
  result.receive = receive_wanted_ && !starved_ && !to_receive_.empty();
  if (transmit_room_ != 0U) {
    result.transmit = std::exchange(transmit_stopped_, false);
  }
  return result;
}

FrameIo::WaitResult FakeFrameIo::wait(std::optional<Clock::time_point> deadline) {
  counters_.waits.add(1);
  // Cleared before the state is looked at: a later change signals again and ends the sleep below.
  wake_.clear();
  WaitResult result = backend_state();
  if (result.receive || result.transmit) {
    deadline = Clock::now();
  }
  std::array<pollfd, 65> fds;
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    fds[i] = {watched_[i], POLLIN, 0};  // a negative descriptor is skipped
  }
  fds.back() = {wake_.fd(), POLLIN, 0};
  const auto timeout = time_until(deadline);
  counters_.syscalls.add(1);
  if (::ppoll(fds.data(), fds.size(), timeout ? &*timeout : nullptr, nullptr) <= 0) {
    return result;
  }
  if (fds.back().revents != 0 && !result.receive && !result.transmit) {
    result = backend_state();
  }
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    std::uint64_t count = 0;
    if (fds[i].revents != 0 && ::read(watched_[i], &count, sizeof count) == sizeof count) {
      result.watched |= std::uint64_t{1} << i;
    }
  }
  return result;
}

bool FakeFrameIo::transmit_one(TransmitFrame& frame) {
  if (!gone_ && transmit_room_ == 0U) {
    transmit_stopped_ = true;
    return false;
  }
  frame.error = 0;
  if (gone_) {
    frame.error = EBADFD;
  } else if (transmit_errors_left_ > 0) {
    --transmit_errors_left_;
    frame.error = transmit_error_;
  }
  if (frame.error != 0) {
    counters_.transmit_dropped.add(1);
    return true;
  }
  if (transmit_room_) {
    --*transmit_room_;
  }
  Frame copy;
  copy.reserve(frame.bytes);
  for (const iovec& piece : frame.iov) {
    const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
    copy.insert(copy.end(), bytes, bytes + piece.iov_len);
  }
  CHECK(copy.size() == frame.bytes);
  counters_.sent_frames.add(1);
  counters_.sent_bytes.add(copy.size());
  sent_.push_back(std::move(copy));
  return true;
}

std::size_t FakeFrameIo::transmit(std::span<TransmitFrame> frames) {
  const std::lock_guard lock(mutex_);
  transmit_stopped_ = false;
  std::size_t taken = 0;
  while (taken < frames.size() && transmit_one(frames[taken])) {
    ++taken;
  }
  sent_changed_.notify_all();
  return taken;
}

FakeFrameIo::Delivery FakeFrameIo::deliver(ReceiveSink& sink, const Frame& frame) {
  // Real engines ask for what any frame fits into, or for what this one needs once they see that there is
  // some space at all. Taking turns shows a receiver both.
  ask_for_any_frame_ = !ask_for_any_frame_;
  ReceiveSpace space = sink.acquire(ask_for_any_frame_ ? kMaxReceiveBytes + 1 : 1);
  if (space.bytes < frame.size()) {
    space = sink.acquire(frame.size());
  }
  if (space.bytes < frame.size()) {
    return space.may_grow ? Delivery::kStarved : Delivery::kDropped;
  }
  std::span<const std::byte> rest(frame);
  for (const iovec& piece : space.iov) {
    const std::size_t size = std::min(piece.iov_len, rest.size());
    std::copy_n(rest.data(), size, static_cast<std::byte*>(piece.iov_base));
    rest = rest.subspan(size);
  }
  CHECK(rest.empty());
  sink.commit(frame.size());
  return Delivery::kDelivered;
}

ReceiveEnd FakeFrameIo::receive(ReceiveSink& sink, Budget budget) {
  std::unique_lock lock(mutex_);
  starved_ = false;
  std::size_t bytes = 0;
  for (unsigned frames = 0; !gone_; ++frames) {
    if (to_receive_.empty()) {
      return ReceiveEnd::kDrained;
    }
    if (frames >= budget.frames || bytes >= budget.bytes) {
      return ReceiveEnd::kBudget;
    }
    Frame frame = std::move(to_receive_.front());
    to_receive_.pop_front();
    lock.unlock();  // the sink may do anything, a call of the test among it
    const Delivery delivery = deliver(sink, frame);
    lock.lock();
    if (delivery == Delivery::kStarved) {
      to_receive_.push_front(std::move(frame));
      starved_ = true;
      return ReceiveEnd::kStarved;
    }
    bytes += frame.size();
    if (delivery == Delivery::kDropped) {
      counters_.receive_dropped.add(1);
    } else {
      counters_.received_frames.add(1);
      counters_.received_bytes.add(frame.size());
    }
  }
  gone_reported_ = true;
  return ReceiveEnd::kGone;
}

void FakeFrameIo::discard_received() {
  const std::lock_guard lock(mutex_);
  ++discards_;
  to_receive_.clear();
}

}  // namespace tapir::net::testing
