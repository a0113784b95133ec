// SPDX-License-Identifier: Apache-2.0
#include "helper/seccomp_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace tapir::helper {
namespace {

// In a child that has the filter: what wait(2) says of it after one system call. It makes no other, as a
// sanitizer would: -1 if the filter could not be installed, 0 if the call passed.
int status_after(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!install_seccomp_filter()) {
      ::_exit(1);
    }
    ::syscall(number, a, b, c, d, e, f);
    ::syscall(SYS_exit_group, 0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? -1 : status;
}

bool kills(int status) {
  return status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

long address(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}

TEST(SeccompFilter, EndsAProcessThatDoesAnythingElse) {
  for (const long number : {SYS_execve,
                            SYS_execveat,
                            SYS_fork,
                            SYS_vfork,
                            SYS_clone,
                            SYS_clone3,
                            SYS_ptrace,
                            SYS_kill,
                            SYS_tgkill,
                            SYS_mount,
                            SYS_setns,
                            SYS_unshare,
                            SYS_open,
                            SYS_creat,
                            SYS_openat2,
                            SYS_rename,
                            SYS_unlink,
                            SYS_chmod,
                            SYS_mprotect,
                            SYS_prctl,
                            SYS_setresuid,
                            SYS_setuid,
                            SYS_setgroups,
                            SYS_connect,
                            SYS_bpf,
                            SYS_io_uring_setup,
                            SYS_process_vm_readv,
                            SYS_pidfd_getfd,
                            SYS_memfd_create,
                            SYS_init_module,
                            SYS_keyctl,
                            SYS_exit}) {
    EXPECT_TRUE(kills(status_after(number))) << "system call " << number;
  }
}

TEST(SeccompFilter, LooksAtWhatTellsGoodFromBad) {
  EXPECT_TRUE(kills(status_after(SYS_socket, AF_INET, SOCK_STREAM)));
  EXPECT_TRUE(kills(status_after(SYS_socket, AF_PACKET, SOCK_RAW)));
  EXPECT_EQ(status_after(SYS_socket, AF_UNIX, SOCK_DGRAM), 0);
  EXPECT_TRUE(kills(status_after(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)));
  EXPECT_EQ(status_after(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), 0);

  EXPECT_TRUE(kills(status_after(SYS_ioctl, 0, TUNSETPERSIST, 1)));
  EXPECT_TRUE(kills(status_after(SYS_ioctl, 0, TUNSETGROUP, 0)));
  EXPECT_TRUE(kills(status_after(SYS_ioctl, 0, TIOCSTI)));
  EXPECT_EQ(status_after(SYS_ioctl, 0, TUNSETIFF), 0);

  constexpr const char* kPath = "/dev/null";
  EXPECT_TRUE(kills(status_after(SYS_openat, AT_FDCWD, address(kPath), O_WRONLY | O_CREAT)));
  EXPECT_TRUE(kills(status_after(SYS_openat, AT_FDCWD, address(kPath), O_WRONLY | O_TRUNC)));
  EXPECT_TRUE(kills(status_after(SYS_openat, AT_FDCWD, address("/tmp"), O_WRONLY | O_TMPFILE)));
  EXPECT_EQ(status_after(SYS_openat, AT_FDCWD, address(kPath), O_RDWR), 0);

  constexpr long kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_TRUE(kills(status_after(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, kAnonymous, -1)));
  EXPECT_EQ(status_after(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, kAnonymous, -1), 0);
}

}  // namespace
}  // namespace tapir::helper
