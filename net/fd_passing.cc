// SPDX-License-Identifier: Apache-2.0
#include "net/fd_passing.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "net/base/check.h"

namespace tapir::net {
namespace {

// Room for one control message with the most descriptors there can be, aligned as its header has to be.
struct ControlBuffer {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMaxPassedFds * sizeof(int))> bytes{};
};

// All descriptors of the message, owned, whatever else it holds.
std::vector<UniqueFd> take_fds(msghdr& message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Status send_fds(int socket, std::span<const UniqueFd> fds) {
  CHECK(!fds.empty() && fds.size() <= kMaxPassedFds);
  char byte = 0;
  iovec data{&byte, sizeof byte};
  ControlBuffer buffer;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = buffer.bytes.data();
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* const control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    std::memcpy(CMSG_DATA(control) + i * sizeof fd, &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent == 1 ? Status{} : fail_errno("cannot pass descriptors over the socket");
}

Result<ReceivedFds> receive_fds(int socket) {
  std::array<std::byte, 64> bytes;
  iovec data{bytes.data(), bytes.size()};
  ControlBuffer buffer;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = buffer.bytes.data();
  message.msg_controllen = buffer.bytes.size();
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    return fail_errno("cannot receive descriptors over the socket");
  }
  ReceivedFds result{take_fds(message), static_cast<std::size_t>(received)};
  // The buffer holds any number that can be sent, so what is missing did not fit into this process.
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return fail_errno("cannot receive all descriptors over the socket", EMFILE);
  }
  return result;
}

}  // namespace tapir::net
