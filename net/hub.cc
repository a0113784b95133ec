// SPDX-License-Identifier: Apache-2.0
#include "net/hub.h"

#include <fmt/format.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>
#include <utility>

#include "net/base/log.h"
#include "net/frame_fault.h"
#include "net/offload.h"

namespace tapir::net {
namespace {

// What waits for a NIC at most; the kernel's own limit (net.core.wmem_max) is often less.
constexpr int kSocketBytes = 1024 * 1024;
constexpr int kPauseMilliseconds = 1;

// What every port can do, when there is one NIC; see the class.
FrameIoFeatures common_features(const std::vector<FramePort>& taps, std::size_t nics) {
  FrameIoFeatures common;
  unsigned offloads = taps.empty() || nics != 1 ? 0 : kAllTunOffloads;
  for (const FramePort& tap : taps) {
    offloads &= tap.features.vnet_header ? tap.features.offloads : 0;
    if (tap.features.mtu != 0) {
      common.mtu = common.mtu == 0 ? tap.features.mtu : std::min(common.mtu, tap.features.mtu);
    }
  }
  common.offloads = consistent_tun_offloads(offloads);
  common.vnet_header = common.offloads != 0;
  return common;
}

void count(std::atomic<std::uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// Whether something is left to do to the frame behind this header.
bool is_unfinished(const std::byte* bytes) {
  VnetHeader header;
  std::memcpy(&header, bytes, sizeof header);
  return header.gso_type != VIRTIO_NET_HDR_GSO_NONE || (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
}

}  // namespace

Result<std::unique_ptr<Hub>> Hub::create(std::string name, std::vector<FramePort> taps, std::size_t nics) {
  TAPIR_TRY_ASSIGN(EventFd stop, EventFd::create());
  std::unique_ptr<Hub> hub(new Hub(std::move(name), std::move(stop)));
  const FrameIoFeatures features = common_features(taps, nics);
  hub->carries_offloads_ = features.offloads != 0;
  for (FramePort& tap : taps) {
    auto port = std::make_unique<Port>();
    port->vnet_header = tap.features.vnet_header;
    port->tap = tap.is_tap;
    port->fd = std::move(tap.fd);
    hub->ports_.push_back(std::move(port));
  }
  for (std::size_t nic = 0; nic < nics; ++nic) {
    TAPIR_TRY(hub->add_nic(features));
  }
  hub->poll_set_.push_back({hub->stop_.fd(), POLLIN, 0});
  for (const auto& port : hub->ports_) {
    hub->poll_set_.push_back({port->fd.get(), POLLIN, 0});
  }
  return hub;
}

Status Hub::add_nic(const FrameIoFeatures& features) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) < 0) {
    return fail_errno(fmt::format("socketpair for a NIC on {}", name_));
  }
  auto port = std::make_unique<Port>();
  port->fd = UniqueFd(ends[0]);
  port->vnet_header = features.vnet_header;
  FramePort nic;
  nic.fd = UniqueFd(ends[1]);
  nic.features = features;
  for (const int end : ends) {
    // As much as the host allows; less is no error.
    static_cast<void>(::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes));
  }
  ports_.push_back(std::move(port));
  nic_ports_.push_back(std::move(nic));
  return {};
}

Status Hub::start() {
  try {
    thread_ = std::thread(&Hub::run, this);
  } catch (const std::system_error& error) {
    return fail(fmt::format("cannot start the thread of {}: {}", name_, error.what()), error.code().value());
  }
  return {};
}

Hub::~Hub() {
  if (thread_.joinable()) {
    stop_.signal();
    thread_.join();
  }
}

Status Hub::set_offloads(unsigned tun_offloads) {
  for (const auto& port : ports_) {
    // One that was deleted has nothing to say any more.
    if (port->tap && ::ioctl(port->fd.get(), TUNSETOFFLOAD, tun_offloads) < 0 &&
        !is_deleted_interface(errno)) {
      return fail_errno(fmt::format("cannot set the offloads of a tap on {} to {:#x}", name_, tun_offloads));
    }
  }
  return {};
}

Hub::Counters Hub::counters(std::size_t port) const {
  const Port& of = *ports_.at(port);
  return {of.received.load(std::memory_order_relaxed), of.sent.load(std::memory_order_relaxed),
          of.dropped.load(std::memory_order_relaxed)};
}

void Hub::run() {
  // Signals are the main thread's business.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  for (;;) {
    wait();
    if (poll_set_[0].revents != 0) {
      return;
    }
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      const auto ready = static_cast<unsigned>(poll_set_[1 + i].revents);
      if ((ready & unsigned{POLLERR | POLLHUP | POLLNVAL}) != 0) {
        mark_gone(*ports_[i]);
      } else if ((ready & unsigned{POLLIN}) != 0) {
        drain(i);
      }
    }
  }
}

void Hub::wait() {
  bool any_paused = false;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    Port& port = *ports_[i];
    // One that is gone is ready for ever, and poll(2) cannot be told not to look.
    poll_set_[1 + i].fd = port.gone ? -1 : port.fd.get();
    poll_set_[1 + i].events = port.paused ? 0 : POLLIN;
    any_paused = any_paused || port.paused;
    port.paused = false;
  }
  waits_.fetch_add(1, std::memory_order_relaxed);
  if (::poll(poll_set_.data(), poll_set_.size(), any_paused ? kPauseMilliseconds : -1) < 0) {
    for (pollfd& entry : poll_set_) {
      entry.revents = 0;  // EINTR or ENOMEM: nothing is known
    }
  }
}

void Hub::drain(std::size_t from) {
  Port& source = *ports_[from];
  for (unsigned frame = 0; frame < kBatch && !source.gone; ++frame) {
    const auto bytes = receive(source);
    if (!bytes) {
      return;
    }
    for (std::size_t to = 0; *bytes != 0 && to < ports_.size(); ++to) {
      if (to != from && !ports_[to]->gone) {
        send(*ports_[to], *bytes);
      }
    }
  }
}

std::optional<std::size_t> Hub::receive(Port& port) {
  // What a port without vnet headers leaves out.
  std::fill_n(buffer_.begin(), kVnetHeaderBytes, std::byte{0});
  const std::size_t offset = port.vnet_header ? 0 : kVnetHeaderBytes;
  ssize_t size = 0;
  do {
    size = ::read(port.fd.get(), buffer_.data() + offset, buffer_.size() - offset);
  } while (size < 0 && classify_receive_error(errno) == ReceiveFault::kRetry);
  if (size < 0) {
    const ReceiveFault fault = classify_receive_error(errno);
    port.paused = fault == ReceiveFault::kPause || fault == ReceiveFault::kDropAndPause;
    if (fault == ReceiveFault::kDropAndPause) {
      count(port.dropped);
    } else if (fault == ReceiveFault::kGone) {
      mark_gone(port);
    }
    return std::nullopt;
  }
  if (size == 0) {
    return std::nullopt;  // the end of a socket, which the next wait tells
  }
  const std::size_t end = offset + static_cast<std::size_t>(size);
  if (end < kMinFrameBytes || end == buffer_.size() ||
      (!carries_offloads_ && is_unfinished(buffer_.data()))) {
    count(port.dropped);
    return 0;
  }
  if (!carries_offloads_) {
    std::fill_n(buffer_.begin(), kVnetHeaderBytes, std::byte{0});
  }
  count(port.received);
  return end - kVnetHeaderBytes;
}

void Hub::send(Port& port, std::size_t bytes) {
  const std::size_t offset = port.vnet_header ? 0 : kVnetHeaderBytes;
  for (;;) {
    if (::write(port.fd.get(), buffer_.data() + offset, kVnetHeaderBytes - offset + bytes) >= 0) {
      count(port.sent);
      return;
    }
    const TransmitFault fault = classify_transmit_error(errno);
    if (fault == TransmitFault::kRetry) {
      continue;
    }
    // Full, too: whoever waits here makes all others wait.
    count(port.dropped);
    if (fault == TransmitFault::kGone) {
      mark_gone(port);
    }
    return;
  }
}

void Hub::mark_gone(Port& port) {
  if (!std::exchange(port.gone, true) && port.tap) {
    log(LogLevel::kWarning, fmt::format("a tap of {} was deleted; the other ports go on", name_));
  }
}

Status HubFrameIo::set_offloads(unsigned tun_offloads) {
  TAPIR_TRY(engine_->set_offloads(tun_offloads));
  return hub_.set_offloads(tun_offloads);
}

}  // namespace tapir::net
