"""notified.py SOCKET: takes the place of systemd at a NOTIFY_SOCKET, and prints a line for each message."""

import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
while True:
    print(listener.recv(4096).decode().replace("\n", " "), flush=True)
