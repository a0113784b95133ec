// SPDX-License-Identifier: Apache-2.0
#include "net/testing/frame_link.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "net/base/check.h"
#include "net/tap.h"
#include "net/testing/network_namespace.h"
#include "net/vnet_header.h"

namespace tapir::net::testing {
namespace {

constexpr std::byte kPoison{0xEE};

class SocketLink : public FrameLink {
 public:
  SocketLink(UniqueFd engine_end, UniqueFd other_end)
      : engine_end_(std::move(engine_end)), other_end_(std::move(other_end)) {}

  FramePort take_port() override { return {std::move(engine_end_), {true, 0, 0}, false}; }
  Status send(const Frame& frame) override {
    return ::write(other_end_.get(), frame.data(), frame.size()) >= 0 ? Status{} : fail_errno("write");
  }
  std::optional<Frame> receive() override {
    pollfd readable{other_end_.get(), POLLIN, 0};
    Frame frame(kMaxReceiveBytes);
    if (::poll(&readable, 1, 2000) != 1) {
      return std::nullopt;
    }
    const ssize_t size = ::read(other_end_.get(), frame.data(), frame.size());
    if (size <= 0) {
      return std::nullopt;
    }
    frame.resize(static_cast<std::size_t>(size));
    return frame;
  }
  bool can_be_full() const override { return true; }
  void remove() override { other_end_.reset(); }

 private:
  UniqueFd engine_end_;
  UniqueFd other_end_;
};

class TapLink : public FrameLink {
 public:
  TapLink(Tap tap, PacketSocket socket) : tap_(std::move(tap)), socket_(std::move(socket)) {}

  FramePort take_port() override { return std::move(tap_).into_port(); }
  Status send(const Frame& frame) override { return socket_.send(frame); }
  std::optional<Frame> receive() override { return socket_.receive(); }
  bool can_be_full() const override { return false; }
  void remove() override { CHECK(delete_link(tap_.name()).has_value()); }

 private:
  Tap tap_;
  PacketSocket socket_;
};

}  // namespace

Frame make_frame(std::size_t bytes, unsigned seed) {
  CHECK(bytes >= kMinFrameBytes);
  Frame frame(bytes);
  for (std::size_t i = kMinFrameBytes; i < bytes; ++i) {
    frame[i] = static_cast<std::byte>((i * 31 + std::size_t{seed} * 7) >> 2);
  }
  std::fill_n(frame.begin() + kVnetHeaderBytes, 6, std::byte{0xFF});
  frame[kVnetHeaderBytes + 6] = std::byte{0x52};
  frame[kVnetHeaderBytes + 11] = static_cast<std::byte>(seed);
  // IEEE 802 local experimental EtherType 1.
  frame[kVnetHeaderBytes + 12] = std::byte{0x88};
  frame[kVnetHeaderBytes + 13] = std::byte{0xB5};
  return frame;
}

Result<std::unique_ptr<FrameLink>> make_socket_link() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) < 0) {
    return fail_errno("socketpair");
  }
  UniqueFd engine_end(ends[0]);
  UniqueFd other_end(ends[1]);
  // The default holds fewer frames of the largest size than the tests send at once.
  const int bytes = 2 * 1024 * 1024;
  for (const int fd : ends) {
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes));
  }
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  return std::make_unique<SocketLink>(std::move(engine_end), std::move(other_end));
}

Result<std::unique_ptr<FrameLink>> make_tap_link() {
  TAPIR_TRY_ASSIGN(Tap tap, Tap::open("t0", {}));
  TAPIR_TRY(set_link_mtu("t0", 65521));
  TAPIR_TRY_ASSIGN(PacketSocket socket, PacketSocket::open("t0"));
  return std::make_unique<TapLink>(std::move(tap), std::move(socket));
}

RecordingSink::RecordingSink(std::size_t piece_bytes, std::size_t pieces, bool may_grow)
    : piece_bytes_(piece_bytes), may_grow_(may_grow) {
  resize(pieces);
}

void RecordingSink::resize(std::size_t pieces) {
  buffer_.assign(piece_bytes_ * pieces, kPoison);
}

ReceiveSpace RecordingSink::acquire(std::size_t bytes) {
  pieces_.clear();
  acquired_ = 0;
  while (acquired_ < buffer_.size() && acquired_ < bytes) {
    pieces_.push_back({buffer_.data() + acquired_, piece_bytes_});
    acquired_ += piece_bytes_;
  }
  return {pieces_, acquired_, may_grow_};
}

void RecordingSink::commit(std::size_t bytes) {
  CHECK(bytes <= acquired_);
  Frame frame(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(bytes));
  if (bytes >= kVnetHeaderBytes) {
    std::fill_n(frame.begin() + kNumBuffersOffset, 2, std::byte{0});
  }
  received.push_back(std::move(frame));
  std::fill(buffer_.begin(), buffer_.end(), kPoison);
  acquired_ = 0;
}

std::vector<int> transmit_frames(FrameIo& io, std::span<const Frame> frames, std::size_t piece_bytes) {
  std::vector<std::vector<iovec>> pieces;
  std::vector<TransmitFrame> batch;
  for (const Frame& frame : frames) {
    std::vector<iovec>& iov = pieces.emplace_back();
    for (std::size_t at = 0; at < frame.size(); at += std::min(piece_bytes, frame.size() - at)) {
      // transmit() only reads.
      iov.push_back({const_cast<std::byte*>(frame.data()) + at, std::min(piece_bytes, frame.size() - at)});
    }
  }
  for (std::size_t i = 0; i < frames.size(); ++i) {
    batch.push_back({pieces[i], frames[i].size(), -1});
  }
  const std::size_t taken = io.transmit(batch);
  CHECK(taken <= batch.size());
  std::vector<int> errors;
  for (std::size_t i = 0; i < taken; ++i) {
    errors.push_back(batch[i].error);
  }
  return errors;
}

}  // namespace tapir::net::testing
