"""Write the pin file of every board."""

from popflip.constraints import boards
from popflip.constraints.pins import pin_file

for name in boards():
    path, text = pin_file(name)
    path.write_text(text)
    print(path)
