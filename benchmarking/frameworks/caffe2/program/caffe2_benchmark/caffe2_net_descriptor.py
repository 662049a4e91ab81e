"""The compiled form of ``caffe2_net.proto``: its FileDescriptorProto, compressed, in base64."""

DESCRIPTOR = (
    "eNqdVF2PGzUUxTOZZOZmsh1ZqEpBhSWIslLbFU23C9q3LtlWQasEuVkqnkaTHScdNbGjGacf733iB/DKj+GNB34T19eTELFbqHjz"
    "PT62j+85NiSX2Wwm+6mS5nBVaqP5BplKdflimZUve780oD2RqtLlj8Tg0MiLZdVl+/6BL2jMf4Aoz0yWmrcr2fX22cFe/87hP3c6"
    "3NnlcID0CbJPgifn48cTEeY1wL8AmC10ZlKLdH08xTv1EiYiQu06SymUedh3lAZSAkchlCifQjR9a6RjBKgoFqEFaPJzaFemLNTc"
    "TTdxg1iAg4jwJbRzvZ4u6vUREhidAA7eUXF85Dhg27FVcXxElFsQltlrR+iQiBbWNIVtVNlSdlsIR4LGvd8YhJvG8A5EF6PB2ZPh"
    "6GyQfMQjcJ1KmB0OR5OH/cTjITROf56cJT4HaD6biOHoadIgdDw+TwJLvUDud0nTgjRqWaoFHxwnYb0XDqN6eHyUAG9Diw5DPLb0"
    "wfji9Pws6fTeMYhOF3q6jQLdgf19B4ttU4CYHfNH0DTkPdrJDtr92/+aDVGTeRdal1phYdBjal5d9v7wIHxcztdLLK5VEQObkQRP"
    "sJmtCjraF6ywVVVvyCp+F5hB8z5AFjP8DjDVDYncvUoeSTOQM8EUvwlNSmuF0cP8irqyUjEcFSUO344d21u65FWYBRvETcm/hZbr"
    "RNVt48x/Ctyw+T3siMRjIlr1fqXE6v3JIB7IV8WlHK9MoRXvYfqpdu/Z9jU4Yd9g+AmldOL7qjlFTo0O8AkTMMzt+yozletlWkmZ"
    "U+c7Ahz0DBG7WulcpuRbg3wLLTCy3u1DrNbLLCUG7h7Q7mCxEUK4/20A+caUWVqomaZmRiIiZIhA71cf2uOVLDOjS7wm/xiCQq3W"
    "hr6sSLjCeqTXxsIewXW1jZN/TagbO6G+B35Wzsngdv+Tqz3e5FNYGv8eOnW/NDUZVdsUfXZ13a4VIs53jUHJUs0Ltfk16gq/q459"
    "GaVepO6iId0orsEh3fcu7BVVOi+zvEBVKAPjwQ7Ck2CWLSop4qJ6Ws+NV7bDuZyu567DQKdFhNgOWyFoZVYoDCYJcZVdplfpK1lW"
    "9ooxvbhIr35yQO93D5ouetc+2vvgoSrvfVHfsVQgcWuKv2MKJg9zkr7W5Us8k/xy0XnukKs+BP/Dh9r65odZ/xXsYTZlqbKNPS2y"
    "p7NBnT9fw40trQ6ms3G7ekzoXw8vHJ0="
)
